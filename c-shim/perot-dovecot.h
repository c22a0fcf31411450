/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef PEROT_DOVECOT_H
#define PEROT_DOVECOT_H

/* The core's view of Dovecot, whatever plugin asks: no header of Pigeonhole is
   included here. */

/* Dovecot's headers come first: they define bool themselves. */
#include "compat.h"
#include "perot-encrypt.h"

/* The functions of the core: set once, when the plugin is loaded */
extern const struct perot_core *perot_core;

static inline struct perot_bytes perot_bytes(const char *text)
{
	struct perot_bytes bytes = {
		.data = (const unsigned char *)text,
		.size = (text == NULL ? 0 : strlen(text)),
	};
	return bytes;
}

/* Copies bytes to the data stack, for a "%s" of Dovecot's functions. */
static inline const char *perot_str(struct perot_bytes bytes)
{
	return (bytes.data == NULL ? "" :
		t_strndup(bytes.data, bytes.size));
}

/* The address to which the message was delivered, or NULL. LMTP knows it, and
   dovecot-lda if it was called with -r. Without -r, what Dovecot has in its
   place may come from lda_original_recipient_header: a field that the sender
   can have written, and which must not choose the certificate. */
const char *perot_recipient(struct mail_user *user);

/* User CPU time of this process, in milliseconds */
uint64_t perot_cpu_msecs(void);

/*
 * Log
 */

/* Lines of the core go to the event, with "encrypt: " in front. */
void perot_log_init(struct perot_log *log_r, struct event *event);

/* Logs the line of a report, with the name of the command in front, to a child
   of the event that has the report's fields. The age of the event becomes
   Dovecot's field "duration". */
void perot_report_log(const struct perot_report *report, struct event *event,
		      const char *command);

/*
 * Message
 */

/* A message that the core can read */
struct perot_mail_input {
	struct perot_input input;
	struct istream *stream;
};

/* The stream stays the caller's. */
void perot_mail_input_init(struct perot_mail_input *input_r,
			   struct istream *stream);

/* The name of that stream, and of the mailbox of a mail that is made of it */
#define PEROT_CIPHERTEXT_NAME "(encrypted message)"

/* Takes the ciphertext out of a result. Returns a seekable, blocking stream
   that may outlive the result, or NULL with the reason. */
struct istream *
perot_result_stream(struct perot_result *result, const char **error_r);

#endif
