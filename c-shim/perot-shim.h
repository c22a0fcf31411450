/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef PEROT_SHIM_H
#define PEROT_SHIM_H

/* What the files of the Sieve plugin share */

#include "compat-sieve.h"
#include "perot-dovecot.h"
#include "sieve-perot-encrypt-settings.h"

#define PEROT_EXTENSION_NAME "vnd.perot.encrypt"

/*
 * Extension (ext-encrypt.c)
 */

extern const struct sieve_extension_def perot_extension;

struct perot_ext {
	struct perot_instance *instance;
	struct perot_extra_action extra_action;
};

static inline const struct perot_instance *
perot_ext_instance(const struct sieve_extension *ext)
{
	const struct perot_ext *perot = ext->context;

	return perot->instance;
}

/*
 * The other vendor's name (ext-pgp-encrypt.c)
 */

/* Registers the other extension, if the settings want it. `ext` is ours. */
void perot_alias_register(const struct sieve_extension *ext);
void perot_alias_unregister(const struct sieve_extension *ext);
/* Returns our extension, of which `ext` may be the other name. */
const struct sieve_extension *
perot_extension_main(const struct sieve_extension *ext);

/*
 * Commands (cmd-encrypt.c, tst-encrypted.c)
 */

extern const struct sieve_command_def perot_cmd_encrypt;
extern const struct sieve_command_def perot_cmd_pgp_encrypt;
extern const struct sieve_operation_def perot_opr_encrypt;

extern const struct sieve_command_def perot_tst_encrypted;
extern const struct sieve_operation_def perot_opr_encrypted;

enum perot_operation {
	PEROT_OPERATION_ENCRYPT,
	PEROT_OPERATION_ENCRYPTED,
};

/*
 * Order of commands (perot-order.c)
 */

/* Who reads what is said of the script that is compiled */
enum perot_author perot_script_author(struct sieve_validator *valdtr);
/* From now on the author of the script is warned of actions that stand on the
   wrong side of `encrypt`. */
void perot_order_register(struct sieve_validator *valdtr,
			  const struct sieve_extension *ext);

/*
 * Who runs the script
 */

/* LMTP or the LDA: the message is not in a mailbox yet. */
static inline bool perot_is_delivery(const struct sieve_execute_env *eenv)
{
	return eenv->svinst->env_location == SIEVE_ENV_LOCATION_MDA;
}

/* An IMAP session, by imapsieve or FILTER=SIEVE: they alone have nobody to
   respond to. */
static inline bool perot_is_in_imap(const struct sieve_execute_env *eenv)
{
	return (eenv->flags & SIEVE_EXECUTE_FLAG_SKIP_RESPONSES) != 0;
}

/* imapsieve, for a message that a mail program has saved: there is no
   envelope. */
static inline bool perot_is_saved(const struct sieve_execute_env *eenv)
{
	return perot_is_in_imap(eenv) &&
		(eenv->flags & SIEVE_EXECUTE_FLAG_NO_ENVELOPE) != 0;
}

/*
 * Runs (perot-run.c)
 */

/* One message, and all scripts that run for it */
struct perot_history {
	pool_t pool;
	/* All of the message is encrypted. */
	bool encrypted;
	/* A failure of the script that runs defers the message. */
	bool armed;
	/* How many scripts had ended when that script began */
	unsigned int scripts_ended;
	/* How often `encrypt` was run, and has encrypted */
	unsigned int calls, layers;
	/* Saved mail: though a script has failed, the encrypted message is
	   stored where it was saved. */
	bool stored;
	/* What has been logged about the message */
	ARRAY_TYPE(const_string) lines;
};

/* One script, with those that it includes */
struct perot_run {
	struct sieve_execute_env exec_env;
	struct sieve_message_context *msgctx;
	struct perot_history *history;
	/* User CPU time of the process when the run began */
	uint64_t cpu_begin;
	/* Commands of a script were left when it ended. */
	bool is_cut_off;
};

/* Has the run of a script noted. */
bool perot_run_register(const struct sieve_extension *ext,
			const struct sieve_runtime_env *renv);
struct perot_run *
perot_run_get(const struct sieve_runtime_env *renv,
	      const struct sieve_extension *ext);

struct perot_history *
perot_history_get(struct sieve_result *result,
		  const struct sieve_extension *ext);
/* Returns TRUE if this line has not been logged yet about the message. */
bool perot_history_says(struct perot_history *history, const char *line);

/*
 * Message (perot-message.c)
 */

/* Fills in all of a request that the script does not say. */
void perot_request_init(struct perot_request *request_r, enum perot_form form,
			const struct sieve_runtime_env *renv);
/* Adds the actions that have been given the message as it is. */
void perot_request_add_clear_copies(struct perot_request *request,
				    const struct sieve_runtime_env *renv);
/* Opens the current message for the core. If it is not available, that becomes
   the obstacle of the request. */
void perot_message_open(const struct sieve_runtime_env *renv,
			struct perot_request *request,
			struct perot_mail_input *input_r);
/* Puts the ciphertext of the result in the place of the current message, with
   flags, keywords and received date of that. Returns 0, or -1 with the
   reason. */
int perot_message_replace(const struct sieve_runtime_env *renv,
			  struct perot_result *result, const char **error_r);

/*
 * Outcome (perot-outcome.c)
 */

/* From now on a failure of the script, in a delivery, defers the message. It
   does not when the script has ended well, or the message is encrypted. */
void perot_arm(const struct sieve_runtime_env *renv,
	       const struct sieve_extension *ext);
/* Called when a script of a delivery has used up its CPU time. */
void perot_out_of_time(const struct sieve_extension *ext,
		       const struct perot_run *run);
/* From now on a failure of the script is no reason to defer: somebody has asked
   for the message as it is. */
void perot_disarm(const struct sieve_runtime_env *renv,
		  const struct sieve_extension *ext);
/* From now on the current, encrypted message is stored where Pigeonhole would
   store the original: when something fails, and for a `keep` of an earlier
   script. */
void perot_keep_encrypted(const struct sieve_runtime_env *renv,
			  const struct sieve_extension *ext);
/* The script ends here, well, and nothing that it has asked for is done. */
void perot_end_script(const struct sieve_runtime_env *renv);
/* From now on the script ends in a failure, whatever it does or has done: a
   temporary failure of the delivery, or a message that stays in its mailbox.
   The answer goes to whoever delivers the message. Returns the status of the
   operation. */
int perot_defer(const struct sieve_runtime_env *renv,
		const struct sieve_extension *ext, const char *answer);

/*
 * Existing mail (perot-existing.c)
 */

/* Tells whether existing mail, which sieve-filter or IMAP's FILTER goes
   through, is to be left as it is, and why. */
enum perot_exemption
perot_existing_exemption(const struct sieve_execute_env *eenv,
			 struct mail *mail);
/* Locks the mailbox that sieve-filter goes through, before a message of it is
   encrypted. Returns -1 with the reason if another sieve-filter has the lock,
   if that cannot be known, or if the mailbox is a virtual one. */
int perot_existing_lock(const struct sieve_execute_env *eenv,
			const char **error_r);
void perot_existing_unlock(void);
/* Returns TRUE for sieve-filter on a mailbox that it may change. */
bool perot_is_existing(const struct sieve_execute_env *eenv);
/* Expunges the original if the script has stored the current message. Called
   when all else is done, also the implicit keep. */
void perot_existing_expunge(const struct sieve_action_exec_env *aenv,
			    int status);

/*
 * Saved mail (perot-saved.c)
 */

/* Sees to the original of a saved message that has been encrypted. */
void perot_saved_encrypted(const struct sieve_runtime_env *renv);
/* Removes the original as imapsieve does when nothing fails. */
void perot_saved_remove(const struct sieve_execute_env *eenv);

#endif
