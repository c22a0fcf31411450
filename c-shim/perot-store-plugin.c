/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "perot-store.h"
#include "sieve-perot-encrypt-settings.h"

/*
 * Mail plugin interface
 *
 * The exported functions are in Rust (src/ffi/exports/mail.rs), and call these.
 */

void perot_store_init(struct module *module, const struct perot_core *core);
void perot_store_deinit(void);

/*
 * Users
 */

static MODULE_CONTEXT_DEFINE_INIT(perot_store_user_module,
				  &mail_user_module_register);

static struct perot_store_user *perot_store_user(struct mail_user *user)
{
	return MODULE_CONTEXT_REQUIRE(user, perot_store_user_module);
}

static void perot_store_user_deinit(struct mail_user *user)
{
	struct perot_store_user *suser = perot_store_user(user);

	perot_store_forget(suser);
	if (suser->instance != NULL)
		perot_core->close(suser->instance);
	suser->instance = NULL;
	suser->module_ctx.super.deinit(user);
}

static bool perot_store_is_in(const struct mail_user *user, const char *service)
{
	return strcmp(user->service, service) == 0;
}

static bool perot_store_delivers(const struct mail_user *user)
{
	return perot_store_is_in(user, "lmtp") ||
		perot_store_is_in(user, "lda");
}

/* Returns TRUE for the users of deliveries and IMAP. The plugin may be loaded
   everywhere, and leaves dsync and doveadm alone. Dovecot creates users by
   itself (autocreated) for raw storage and for those who share mailboxes with
   the user. */
static bool perot_store_is_wanted(const struct mail_user *user)
{
	return !user->autocreated && (perot_store_delivers(user) ||
				      perot_store_is_in(user, "imap"));
}

static struct perot_instance *perot_store_open(struct mail_user *user)
{
	struct event *event = perot_store_event_create(user);
	struct perot_setting_source source = perot_user_settings(user, event);
	struct perot_instance *instance = perot_settings_open(&source);

	event_unref(&event);
	return instance;
}

static void perot_store_user_created(struct mail_user *user)
{
	struct mail_user_vfuncs *v = user->vlast;
	struct perot_store_user *suser;

	suser = p_new(user->pool, struct perot_store_user, 1);
	suser->module_ctx.super = *v;
	user->vlast = &suser->module_ctx.super;
	v->deinit = perot_store_user_deinit;
	suser->user = user;
	MODULE_CONTEXT_SET(user, perot_store_user_module, suser);

	if (perot_store_is_wanted(user))
		suser->instance = perot_store_open(user);
}

/*
 * Mailboxes
 */

static MODULE_CONTEXT_DEFINE_INIT(perot_store_mailbox_module,
				  &mail_storage_module_register);

struct perot_store_mailbox *perot_store_mailbox(struct mailbox *box)
{
	return MODULE_CONTEXT_REQUIRE(box, perot_store_mailbox_module);
}

/* Returns FALSE if no setting asks for encryption in this mailbox. */
static bool
perot_store_place(const struct perot_store_user *suser, struct mailbox *box,
		  enum perot_place *place_r)
{
	/* A virtual mailbox stores its mail in another mailbox. */
	if (suser->instance == NULL || box->virtual_vfuncs != NULL)
		return FALSE;

	*place_r = PEROT_PLACE_DELIVERY;
	if (perot_store_delivers(suser->user))
		return (box->flags & MAILBOX_FLAG_POST_SESSION) != 0;

	/* A mailbox that is opened without ACLs is one in which a plugin makes
	   copies for itself. */
	*place_r = PEROT_PLACE_MAILBOX;
	return (box->flags & MAILBOX_FLAG_IGNORE_ACLS) == 0 &&
		perot_core->saves(suser->instance, perot_bytes(box->vname),
				  perot_bytes(perot_special_use(box)));
}

static void perot_store_mailbox_allocated(struct mailbox *box)
{
	struct perot_store_user *suser = perot_store_user(box->storage->user);
	struct mailbox_vfuncs *v = box->vlast;
	struct perot_store_mailbox *sbox;
	enum perot_place place;

	if (!perot_store_place(suser, box, &place))
		return;

	sbox = p_new(box->pool, struct perot_store_mailbox, 1);
	sbox->module_ctx.super = *v;
	box->vlast = &sbox->module_ctx.super;
	v->copy = perot_store_copy;
	v->save_begin = perot_store_save_begin;
	v->save_continue = perot_store_save_continue;
	v->save_finish = perot_store_save_finish;
	v->save_cancel = perot_store_save_cancel;
	sbox->suser = suser;
	sbox->place = place;
	MODULE_CONTEXT_SET(box, perot_store_mailbox_module, sbox);
}

/*
 * Several recipients
 *
 * LMTP takes what it has stored for the first recipient as the message for the
 * next, who would get what only the first can read. LMTP asks for it by its
 * UID, and goes on with the message as it came if there is no such mail.
 */

static MODULE_CONTEXT_DEFINE_INIT(perot_store_mail_module,
				  &mail_module_register);

static bool perot_store_mail_set_uid(struct mail *_mail, uint32_t uid)
{
	struct mail_private *mail =
		container_of(_mail, struct mail_private, mail);
	union mail_module_context *smail =
		MODULE_CONTEXT_REQUIRE(mail, perot_store_mail_module);

	return !perot_store_mailbox(_mail->box)->encrypted &&
		smail->super.set_uid(_mail, uid);
}

static void perot_store_mail_allocated(struct mail *_mail)
{
	struct mail_private *mail =
		container_of(_mail, struct mail_private, mail);
	struct mail_vfuncs *v = mail->vlast;
	const struct perot_store_mailbox *sbox =
		MODULE_CONTEXT(_mail->box, perot_store_mailbox_module);
	union mail_module_context *smail;

	if (sbox == NULL || sbox->place != PEROT_PLACE_DELIVERY)
		return;

	smail = p_new(mail->pool, union mail_module_context, 1);
	smail->super = *v;
	mail->vlast = &smail->super;
	v->set_uid = perot_store_mail_set_uid;
	MODULE_CONTEXT_SET_SELF(mail, perot_store_mail_module, smail);
}

/*
 * Hooks
 */

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
