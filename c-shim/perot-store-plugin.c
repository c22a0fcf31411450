/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "perot-store.h"
#include "perot-settings.h"

/*
 * Mail plugin interface
 *
 * The exported functions are in Rust (src/mail-plugin/lib.rs), and call these.
 */

const struct perot_core *perot_core;

void perot_store_init(struct module *module, const struct perot_core *core);
void perot_store_deinit(void);

/*
 * Users
 */

static MODULE_CONTEXT_DEFINE_INIT(perot_store_user_module,
				  &mail_user_module_register);

struct perot_store_user *perot_store_user(struct mail_user *user)
{
	return MODULE_CONTEXT_REQUIRE(user, perot_store_user_module);
}

static void perot_store_user_deinit(struct mail_user *user)
{
	struct perot_store_user *suser = perot_store_user(user);

	/* Mails in front of their user */
	perot_store_delivery_forget(suser);
	if (suser->raw_user != NULL)
		mail_user_deinit(&suser->raw_user);
	if (suser->instance != NULL)
		perot_core->close(suser->instance);
	suser->module_ctx.super.deinit(user);
}

static bool perot_store_is_delivery(const struct mail_user *user)
{
	return strcmp(user->service, "lmtp") == 0 ||
		strcmp(user->service, "lda") == 0;
}

/* The plugin may be loaded everywhere, and is to be without effect in dsync,
   doveadm and others. Autocreated users are those of raw storage, and others
   whose mailboxes are shared. */
static bool perot_store_is_wanted(const struct mail_user *user)
{
	return !user->autocreated && perot_store_is_delivery(user);
}

static void perot_store_user_created(struct mail_user *user)
{
	struct mail_user_vfuncs *v = user->vlast;
	struct perot_store_user *suser;
	struct perot_settings set;
	struct perot_log log;

	suser = p_new(user->pool, struct perot_store_user, 1);
	suser->module_ctx.super = *v;
	user->vlast = &suser->module_ctx.super;
	v->deinit = perot_store_user_deinit;
	suser->user = user;
	MODULE_CONTEXT_SET(user, perot_store_user_module, suser);

	if (!perot_store_is_wanted(user))
		return;
	perot_settings_read_user(user, pool_datastack_create(), &set);
	perot_log_init(&log, user->event);
	suser->instance = perot_core->open(&set, &log);
}

/*
 * Hooks
 */

static void perot_store_mailbox_allocated(struct mailbox *box)
{
	struct perot_store_user *suser = perot_store_user(box->storage->user);

	if (suser->instance != NULL)
		perot_store_delivery_mailbox(suser, box);
}

static void perot_store_mail_allocated(struct mail *mail)
{
	perot_store_delivery_mail(mail);
}

static const struct mail_storage_hooks perot_store_hooks = {
	.mail_user_created = perot_store_user_created,
	.mailbox_allocated = perot_store_mailbox_allocated,
	.mail_allocated = perot_store_mail_allocated,
};

void perot_store_init(struct module *module, const struct perot_core *core)
{
	perot_core = core;
	mail_storage_hooks_add(module, &perot_store_hooks);
}

void perot_store_deinit(void)
{
	mail_storage_hooks_remove(&perot_store_hooks);
}
