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

bool perot_run_register(const struct sieve_extension *ext,
			const struct sieve_runtime_env *renv)
{
	sieve_interpreter_extension_register(renv->interp, ext,
					     &perot_run_extension, NULL);
	return TRUE;
}

/* The run is that of the outermost script that requires the extension. */
struct perot_run *
perot_run_get(const struct sieve_runtime_env *renv,
	      const struct sieve_extension *ext)
{
	struct sieve_interpreter *interp = renv->interp;
	struct perot_run *run;

	for (; interp != NULL; interp = sieve_interpreter_get_parent(interp)) {
		run = sieve_interpreter_extension_get_context(interp, ext);
		if (run != NULL)
			return run;
	}
	run = p_new(sieve_interpreter_pool(renv->interp), struct perot_run, 1);
	run->renv = renv;
	run->history = perot_history_get(renv->result, ext);
	run->cpu_begin = perot_cpu_msecs();
	sieve_interpreter_extension_set_context(renv->interp, ext, run);
	return run;
}

struct perot_history *
perot_history_get(struct sieve_result *result, const struct sieve_extension *ext)
{
	/* What is set as the context is handed out as constant. */
	struct perot_history *history = (struct perot_history *)
		sieve_result_extension_get_context(result, ext);

	if (history == NULL) {
		history = p_new(sieve_result_pool(result), struct perot_history, 1);
		history->pool = sieve_result_pool(result);
		p_array_init(&history->lines, history->pool, 8);
		sieve_result_extension_set_context(result, ext, history);
	}
	return history;
}

bool perot_history_says(struct perot_history *history, const char *line)
{
	const char *said;

	array_foreach_elem(&history->lines, said) {
		if (strcmp(said, line) == 0)
			return FALSE;
	}
	line = p_strdup(history->pool, line);
	array_push_back(&history->lines, &line);
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
	const struct sieve_execute_env *eenv = run->renv->exec_env;
	uint64_t limit = (uint64_t)perot_max_cpu_secs(eenv->svinst) * 1000;

	return limit > 0 &&
		eenv->exec_status->resource_usage.cpu_time_msecs >= limit;
}

/* Called when a script has ended, before anything is done about it */
static void
perot_run_end(const struct sieve_extension *ext,
	      struct sieve_interpreter *interp ATTR_UNUSED, void *context)
{
	const struct perot_run *run = context;
	const struct sieve_runtime_env *renv;
	bool is_cut_off;

	/* Scripts that are included in one that requires the extension have
	   none. */
	if (run == NULL || !perot_is_delivery(run->renv->exec_env) ||
	    !perot_run_is_out_of_time(run))
		return;
	renv = run->renv;
	is_cut_off = renv->pc < sieve_binary_block_get_size(renv->sblock);
	perot_out_of_time(ext, run, (!is_cut_off ? NULL :
				     sieve_message_get_mail(renv->msgctx)));
}
