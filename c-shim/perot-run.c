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

/* A script of a run: the outermost one, or one that it includes */
struct perot_script {
	struct perot_run *run;
	/* The size of its code */
	sieve_size_t size;
};

static struct perot_script *
perot_script_add(struct sieve_interpreter *interp,
		 const struct sieve_extension *ext, struct perot_run *run,
		 const struct sieve_binary_block *code)
{
	struct perot_script *script = p_new(sieve_interpreter_pool(interp),
					    struct perot_script, 1);

	script->run = run;
	script->size = sieve_binary_block_get_size(code);
	sieve_interpreter_extension_register(interp, ext, &perot_run_extension,
					     script);
	return script;
}

static struct sieve_interpreter *
perot_outermost(struct sieve_interpreter *interp)
{
	struct sieve_interpreter *parent;

	while ((parent = sieve_interpreter_get_parent(interp)) != NULL)
		interp = parent;
	return interp;
}

/* Also the outermost script is watched if only one that it includes requires
   the extension. */
struct perot_run *
perot_run_get(const struct sieve_runtime_env *renv,
	      const struct sieve_extension *ext)
{
	struct sieve_interpreter *outermost = perot_outermost(renv->interp);
	struct perot_script *script =
		sieve_interpreter_extension_get_context(outermost, ext);
	struct perot_run *run;

	if (script != NULL)
		return script->run;
	run = p_new(sieve_interpreter_pool(outermost), struct perot_run, 1);
	/* That of an included script is gone when the script has ended. What
	   it points to stays. */
	run->exec_env = *renv->exec_env;
	run->msgctx = renv->msgctx;
	run->history = perot_history_get(renv->result, ext);
	run->cpu_begin = perot_cpu_msecs();
	(void)perot_script_add(outermost, ext, run, sieve_binary_block_get(
		renv->sbin, SBIN_SYSBLOCK_MAIN_PROGRAM));
	return run;
}

struct perot_history *
perot_history_get(struct sieve_result *result,
		  const struct sieve_extension *ext)
{
	/* What is set as the context is handed out as constant. */
	struct perot_history *history = (struct perot_history *)
		sieve_result_extension_get_context(result, ext);

	if (history == NULL) {
		pool_t pool = sieve_result_pool(result);

		history = p_new(pool, struct perot_history, 1);
		history->pool = pool;
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
	struct perot_run *run = perot_run_get(renv, ext);

	if (sieve_interpreter_get_parent(renv->interp) != NULL)
		(void)perot_script_add(renv->interp, ext, run, renv->sblock);
	if (perot_is_delivery(renv->exec_env))
		perot_arm(renv, ext);
	return SIEVE_EXEC_OK;
}

/* Returns TRUE if the script has used up its CPU time. Pigeonhole notes the
   time that a script has taken unless `stop` has ended it. */
static bool perot_run_is_out_of_time(const struct perot_run *run)
{
	const struct sieve_execute_env *eenv = &run->exec_env;
	uint64_t limit = (uint64_t)perot_max_cpu_secs(eenv->svinst) * 1000;

	return limit > 0 &&
		eenv->exec_status->resource_usage.cpu_time_msecs >= limit;
}

/* Pigeonhole adds up the CPU time of the runs of a user's script, and disables
   the script when those of an hour have taken more than one may: then it
   delivers in clear. Large messages take time, and a sender could send enough
   of them. So this run has taken none. The time of a single run stays
   limited. */
static void perot_run_forget_time(const struct perot_run *run)
{
	sieve_resource_usage_init(&run->exec_env.exec_status->resource_usage);
}

/* Called when a script has ended, before anything is done about it */
static void
perot_run_end(const struct sieve_extension *ext,
	      struct sieve_interpreter *interp, void *context)
{
	const struct perot_script *script = context;
	struct perot_run *run;

	/* The script has not begun. */
	if (script == NULL)
		return;
	run = script->run;
	if (sieve_interpreter_program_counter(interp) < script->size)
		run->is_cut_off = TRUE;
	if (sieve_interpreter_get_parent(interp) != NULL ||
	    !perot_is_delivery(&run->exec_env))
		return;
	if (perot_run_is_out_of_time(run))
		perot_out_of_time(ext, run);
	perot_run_forget_time(run);
}
