/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "perot-shim.h"

/*
 * Runs
 *
 * A run is what Pigeonhole does with one script, and with those that it
 * includes, for one message. This file notes when a run begins, and looks how
 * it has ended: Pigeonhole answers many failures with delivery in clear.
 */

static int
perot_run_begin(const struct sieve_extension *ext,
		const struct sieve_runtime_env *renv, void *context,
		bool deferred);
static void
perot_run_end(const struct sieve_extension *ext,
	      struct sieve_interpreter *interp, void *context);

static const struct sieve_interpreter_extension perot_run_extension = {
	.ext_def = &perot_extension,
	.run = perot_run_begin,
	.free = perot_run_end,
};

/* Each script that requires the extension is registered, included ones, too.
   The context stays with the outermost script. */
bool perot_run_register(const struct sieve_extension *ext,
			const struct sieve_runtime_env *renv)
{
	sieve_interpreter_extension_register(renv->interp, ext,
					     &perot_run_extension, NULL);
	return TRUE;
}

struct perot_run *
perot_run_get(const struct sieve_runtime_env *renv,
	      const struct sieve_extension *ext)
{
	struct sieve_interpreter *interp = renv->interp, *parent;
	struct perot_run *run;

	while ((parent = sieve_interpreter_get_parent(interp)) != NULL)
		interp = parent;
	run = sieve_interpreter_extension_get_context(interp, ext);
	if (run == NULL) {
		run = p_new(sieve_interpreter_pool(interp),
			    struct perot_run, 1);
		run->pool = sieve_interpreter_pool(interp);
		run->exec_env = renv->exec_env;
		run->msgctx = renv->msgctx;
		if (interp == renv->interp)
			run->renv = renv;
		run->cpu_begin = perot_cpu_msecs();
		p_array_init(&run->lines, run->pool, 8);
		sieve_interpreter_extension_register(
			interp, ext, &perot_run_extension, run);
	}
	return run;
}

bool perot_run_says(struct perot_run *run, const char *line)
{
	const char *said;

	array_foreach_elem(&run->lines, said) {
		if (strcmp(said, line) == 0)
			return FALSE;
	}
	line = p_strdup(run->pool, line);
	array_push_back(&run->lines, &line);
	return TRUE;
}

/* Called before the first command of a script */
static int
perot_run_begin(const struct sieve_extension *ext,
		const struct sieve_runtime_env *renv,
		void *context ATTR_UNUSED, bool deferred ATTR_UNUSED)
{
	(void)perot_run_get(renv, ext);
	if (perot_is_delivery(renv->exec_env))
		perot_arm(renv, ext);
	return SIEVE_EXEC_OK;
}

/* Returns TRUE if the script has used up its CPU time. Pigeonhole notes the
   time that a script has taken unless `stop` has ended it. */
static bool perot_run_is_out_of_time(const struct perot_run *run)
{
	const struct sieve_execute_env *eenv = run->exec_env;
	uint64_t limit = (uint64_t)perot_max_cpu_secs(eenv->svinst) * 1000;

	return limit > 0 &&
		eenv->exec_status->resource_usage.cpu_time_msecs >= limit;
}

/* Returns TRUE if commands of the script were left. */
static bool perot_run_is_cut_off(const struct perot_run *run)
{
	return run->renv != NULL &&
		run->renv->pc < sieve_binary_block_get_size(run->renv->sblock);
}

/* Called when a script has ended, before anything is done about it */
static void
perot_run_end(const struct sieve_extension *ext,
	      struct sieve_interpreter *interp ATTR_UNUSED, void *context)
{
	struct perot_run *run = context;

	/* Included scripts have none. */
	if (run == NULL || !perot_is_delivery(run->exec_env) ||
	    !perot_run_is_out_of_time(run))
		return;
	perot_out_of_time(ext, run->exec_env,
			  (perot_run_is_cut_off(run) ?
			   sieve_message_get_mail(run->msgctx) : NULL));
}
