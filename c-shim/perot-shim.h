/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef PEROT_SHIM_H
#define PEROT_SHIM_H

/* What the files of the shim share. */

/* Dovecot's headers first: they define bool themselves. */
#include "compat.h"
#include "perot-encrypt.h"

#define PEROT_EXTENSION_NAME "vnd.perot.encrypt"

/*
 * Plugin (sieve-perot-encrypt-plugin.c)
 */

/* What the core can do: set once, when the plugin is loaded. */
extern const struct perot_core *perot_core;

/*
 * Extension (ext-encrypt.c)
 */

extern const struct sieve_extension_def perot_extension;

static inline const struct perot_instance *
perot_ext_instance(const struct sieve_extension *ext)
{
	return ext->context;
}

/* Where the core's lines go while no script runs */
void perot_log_init(struct perot_log *log_r, struct event *event);

static inline struct perot_bytes perot_bytes(const char *text)
{
	struct perot_bytes bytes = {
		.data = (const unsigned char *)text,
		.size = (text == NULL ? 0 : strlen(text)),
	};
	return bytes;
}

/* The bytes as a string, for a "%s" of Dovecot's functions */
static inline const char *perot_str(struct perot_bytes bytes)
{
	return (bytes.data == NULL ? "" :
		t_strndup(bytes.data, bytes.size));
}

/*
 * Commands (cmd-encrypt.c, tst-encrypted.c)
 */

extern const struct sieve_command_def perot_cmd_encrypt;
extern const struct sieve_operation_def perot_opr_encrypt;

extern const struct sieve_command_def perot_tst_encrypted;
extern const struct sieve_operation_def perot_opr_encrypted;

enum perot_operation {
	PEROT_OPERATION_ENCRYPT,
	PEROT_OPERATION_ENCRYPTED,
};

/*
 * Settings (sieve-perot-encrypt-settings.c)
 */

/* Reads the settings of the user. The strings live as long as the pool. */
void perot_settings_read(struct sieve_instance *svinst, pool_t pool,
			 struct perot_settings *set_r);

/*
 * Message (perot-encrypt-message.c)
 */

/* The message, for the core to read */
struct perot_mail_input {
	struct perot_input input;
	struct istream *stream;
	/* User CPU time at which reading ends, in milliseconds; 0: never */
	uint64_t cpu_deadline;
};

/* Returns 0, or -1 if the message is not available: then `*error_r` says why. */
int perot_input_open(struct mail *mail, const struct sieve_runtime_env *renv,
		     struct perot_mail_input *input_r, const char **error_r);

/* A place for the encrypted message: in memory while it is small, then in an unlinked file.
   Only ciphertext may go there. */
struct perot_temp;

struct perot_temp *perot_temp_create(struct sieve_instance *svinst);
void perot_temp_output(struct perot_temp *temp, struct perot_output *output_r);
/* Makes the current message of `renv` the one in `temp`, with flags, keywords and received date of
   the one before. Returns 0, or -1 with the reason. */
int perot_temp_substitute(struct perot_temp *temp,
			  const struct sieve_runtime_env *renv,
			  const char **error_r);
void perot_temp_destroy(struct perot_temp **temp);

/*
 * Who runs the script
 */

/* LMTP or the LDA: the message is not in a mailbox yet. */
static inline bool perot_is_delivery(const struct sieve_execute_env *eenv)
{
	return eenv->svinst->env_location == SIEVE_ENV_LOCATION_MDA;
}

/* An IMAP session: imapsieve or FILTER=SIEVE, which alone have nobody to respond to. */
static inline bool perot_is_in_imap(const struct sieve_execute_env *eenv)
{
	return (eenv->flags & SIEVE_EXECUTE_FLAG_SKIP_RESPONSES) != 0;
}

/* imapsieve, for a message that a mail program has saved: there is no envelope. */
static inline bool perot_is_saved(const struct sieve_execute_env *eenv)
{
	return perot_is_in_imap(eenv) &&
		(eenv->flags & SIEVE_EXECUTE_FLAG_NO_ENVELOPE) != 0;
}

/*
 * Saved mail (perot-encrypt-saved.c)
 */

/* Sees to the original of a saved message that has been encrypted. */
void perot_saved_encrypted(const struct sieve_runtime_env *renv);
/* Removes the original as imapsieve would have done if nothing had failed. */
void perot_saved_remove(const struct sieve_execute_env *eenv);

/*
 * Existing mail (perot-encrypt-replace.c)
 */

/* To be called before a message is encrypted. Returns -1 if somebody else is replacing messages in this
   mailbox, or if that cannot be known. */
int perot_replace_begin(const struct sieve_execute_env *eenv,
			const char **error_r);
void perot_replace_end(void);
/* With sieve-filter, the original is expunged as soon as the script has stored the current message. */
void perot_replace_original(const struct sieve_runtime_env *renv,
			    const struct sieve_extension *ext);

/*
 * Failing closed (perot-encrypt-failure.c)
 */

/* From now on the current, encrypted message is stored where Pigeonhole would store the original: when
   something fails, and for a `keep` of an earlier script. */
void perot_keep_encrypted(const struct sieve_runtime_env *renv,
			  const struct sieve_extension *ext);
/* From now on the outcome is a failure, whatever else the script does or has done: a temporary one of
   the delivery, or a message that stays in its mailbox. The reason, one word, is told to whoever
   delivers the message. Returns the status with which the operation ends. */
int perot_defer(const struct sieve_runtime_env *renv,
		const struct sieve_extension *ext, const char *reason);
/* What that means for the message, for the log */
static inline const char *perot_deferred(const struct sieve_execute_env *eenv)
{
	return (perot_is_delivery(eenv) ? "deferred" :
		"left as it is");
}

#endif
