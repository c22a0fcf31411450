/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "perot-store.h"

/*
 * Rights
 *
 * Before a message is moved, acl looks whether the user may expunge it. It asks
 * about the mail that is copied, which has the ciphertext here and is in a
 * mailbox that acl does not know. So this plugin asks acl about the message
 * itself. If nobody did, acl would refuse to expunge the message only when its
 * ciphertext has been stored: the client would be told NO, and have a copy.
 */

/* Returns what acl exports by a name. Returns NULL if acl is not loaded. */
static void *perot_acl_symbol(const char *name)
{
	struct module *acl =
		module_dir_find(mail_storage_service_modules, "acl");

	return acl == NULL ? NULL : module_get_symbol(acl, name);
}

bool perot_store_may_expunge(struct mailbox *box)
{
	typeof(acl_storage_module) *id =
		perot_acl_symbol("acl_storage_module");
	typeof(acl_mailbox_right_lookup) *lookup =
		perot_acl_symbol("acl_mailbox_right_lookup");

	/* It may be loaded for another user, or have no mailboxes to watch. */
	if (id == NULL || lookup == NULL || MODULE_CONTEXT(box, *id) == NULL)
		return TRUE;
	return lookup(box, ACL_STORAGE_RIGHT_EXPUNGE) > 0;
}
