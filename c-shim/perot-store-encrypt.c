/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "perot-store.h"

/*
 * The core decides what becomes of a message that is about to be stored.
 */

struct event *perot_store_event_create(struct mail_user *user)
{
	struct event *event = event_create(user->event);

	/* The prefixes of LMTP name connection and recipient. They do not
	   belong in front of lines about the user. 100 is more than there are,
	   so all of them are dropped. */
	event_drop_parent_log_prefixes(event, 100);
	return event;
}

static void
perot_store_owner(struct mail_user *user, struct perot_owner *owner_r)
{
	const char *home;
	int ret;

	i_zero(owner_r);
	owner_r->user = perot_bytes(user->username);
	owner_r->recipient = perot_bytes(perot_recipient(user));
	/* A home that is not known is not the same as none. */
	ret = mail_user_get_home(user, &home);
	if (ret != 0)
		owner_r->home = perot_bytes(ret < 0 ? "" : home);
}

void perot_store_request_init(struct perot_store_request *request_r,
			      const struct mail_save_context *ctx)
{
	struct mailbox *box = ctx->transaction->box;
	struct perot_request *request = &request_r->request;
	const struct perot_store_mailbox *sbox = perot_store_mailbox(box);
	struct mail_user *user = sbox->suser->user;

	i_zero(request_r);
	request_r->box = box;
	/* The age of the event becomes its field "duration". */
	request_r->event = perot_store_event_create(user);
	request->place = sbox->place;
	request->form = PEROT_FORM_STORE;
	/* A message that is delivered is nobody's draft, whatever flags a
	   script sets, and it is the user's, wherever it is filed. */
	if (sbox->place == PEROT_PLACE_MAILBOX) {
		if ((ctx->data.flags & MAIL_DRAFT) != 0)
			request->exemption = PEROT_EXEMPTION_DRAFT;
		request->foreign = (box->list->ns->type &
				    MAIL_NAMESPACE_TYPE_PRIVATE) == 0;
	}
	request->temp_dir = perot_bytes(user->set->mail_temp_dir);
	perot_store_owner(user, &request->owner);
}

struct perot_result *
perot_store_encrypt(const struct perot_store_request *request,
		    const struct perot_input *input)
{
	const struct perot_store_user *suser =
		perot_store_mailbox(request->box)->suser;
	struct perot_log log;

	perot_log_init(&log, request->event);
	return perot_core->encrypt(suser->instance, &request->request, input,
				   &log);
}

int perot_store_finish(struct perot_store_request *request,
		       struct perot_result *result)
{
	const struct perot_report *report = perot_core->report(result);

	perot_report_log(report, request->event, "encrypt");
	event_unref(&request->event);
	return perot_store_check(request->box, report);
}

bool perot_store_is_exempt(const struct mail_save_context *ctx)
{
	const struct perot_input unread = { .context = NULL };
	struct perot_store_request request;
	struct perot_result *result;
	bool exempt;

	perot_store_request_init(&request, ctx);
	exempt = request.request.exemption != PEROT_EXEMPTION_NONE ||
		request.request.foreign;
	if (!exempt) {
		event_unref(&request.event);
	} else {
		result = perot_store_encrypt(&request, &unread);
		(void)perot_store_finish(&request, result);
		perot_core->free(result);
	}
	return exempt;
}

int perot_store_check(struct mailbox *box, const struct perot_report *report)
{
	bool delivery =
		perot_store_mailbox(box)->place == PEROT_PLACE_DELIVERY;

	if (!report->defer)
		return 0;
	mail_storage_set_error(box->storage, (delivery ? MAIL_ERROR_TEMP :
					      MAIL_ERROR_UNAVAILABLE),
			       perot_str(report->answer));
	return -1;
}
