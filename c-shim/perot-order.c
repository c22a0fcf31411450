/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "perot-shim.h"

/* Order of commands
 *
 * An action in front of `encrypt` takes the message as it came, and a
 * `redirect` behind it sends the encrypted one. The author of a script is told
 * of both. The script is gone through once, along all of its branches, before
 * any command of it is validated.
 */

/* The program that compiles is known by its name: Pigeonhole tells nothing else
   by which sievec would differ from sieve-test and sieve-filter. Those compile
   in order to run the script, and the command has its say then. */
enum perot_author perot_script_author(struct sieve_validator *valdtr)
{
	enum sieve_compile_flags flags = sieve_validator_compile_flags(valdtr);

	if ((flags & (SIEVE_COMPILE_FLAG_UPLOADED |
		      SIEVE_COMPILE_FLAG_ACTIVATED)) != 0)
		return PEROT_AUTHOR_UPLOADS;
	if (strcmp(master_service_get_name(master_service), "sievec") == 0)
		return PEROT_AUTHOR_COMPILES;
	return PEROT_AUTHOR_AWAY;
}

/*
 * State
 */

/* What is known at one place in the script */
struct perot_order {
	/* The nearest action in front that took the message as it came. Those
	   of which the author has been warned are forgotten. */
	const struct sieve_ast_node *action;
	/* An `encrypt` that may have encrypted it, on some way at least */
	const struct sieve_ast_node *encrypt;
	/* On all ways the message is encrypted by now. */
	bool encrypted;
	/* No way leads here. */
	bool ended;
};

static bool
perot_order_is(const struct sieve_ast_node *node, const char *identifier)
{
	return strcasecmp(node->identifier, identifier) == 0;
}

/* Two ways meet. */
static void
perot_order_meet(struct perot_order *order, const struct perot_order *other)
{
	if (other->ended)
		return;
	if (order->ended) {
		*order = *other;
		return;
	}
	if (order->action == NULL ||
	    (other->action != NULL &&
	     other->action->source_line > order->action->source_line))
		order->action = other->action;
	if (order->encrypt == NULL)
		order->encrypt = other->encrypt;
	order->encrypted = order->encrypted && other->encrypted;
}

/*
 * Commands and tests
 */

static void
perot_order_encrypt(struct sieve_validator *valdtr,
		    const struct sieve_ast_node *node,
		    struct perot_order *order)
{
	if (order->action != NULL) {
		sieve_validator_warning(valdtr, node->source_line,
			"'%s' on line %u comes before '%s': "
			"it takes the message as it is, not encrypted",
			order->action->identifier, order->action->source_line,
			node->identifier);
	}
	order->action = NULL;
	order->encrypt = node;
	order->encrypted = TRUE;
}

static void
perot_order_action(struct sieve_validator *valdtr,
		   const struct sieve_ast_node *node, struct perot_order *order)
{
	if (!order->encrypted)
		order->action = node;
	if (order->encrypt != NULL && perot_order_is(node, "redirect")) {
		sieve_validator_warning(valdtr, node->source_line,
			"'redirect' sends the message that '%s' on line "
			"%u has encrypted, without the sender's DKIM signature:"
			" receivers that check DMARC may refuse it",
			order->encrypt->identifier,
			order->encrypt->source_line);
	}
}

static void
perot_order_test(struct sieve_validator *valdtr,
		 const struct sieve_ast_node *node,
		 const struct perot_order *order, struct perot_order *if_true,
		 struct perot_order *if_false);

/* `allof` goes on to the next test while they are true, `anyof` while they are
   false. */
static void
perot_order_tests(struct sieve_validator *valdtr,
		  const struct sieve_ast_node *node, bool goes_on_if,
		  struct perot_order *go_on, struct perot_order *leave)
{
	const struct sieve_ast_node *test;

	i_zero(leave);
	leave->ended = TRUE;
	for (test = sieve_ast_test_first(node); test != NULL;
	     test = sieve_ast_node_next(test)) {
		struct perot_order if_true, if_false;

		perot_order_test(valdtr, test, go_on, &if_true, &if_false);
		*go_on = (goes_on_if ? if_true : if_false);
		perot_order_meet(leave, (goes_on_if ? &if_false : &if_true));
	}
}

static void
perot_order_test(struct sieve_validator *valdtr,
		 const struct sieve_ast_node *node,
		 const struct perot_order *order, struct perot_order *if_true,
		 struct perot_order *if_false)
{
	*if_true = *if_false = *order;
	/* An error of the script's, of which its author is told later */
	if (node == NULL)
		return;
	if (perot_order_is(node, "encrypted")) {
		if_true->encrypted = TRUE;
		if_false->encrypt = NULL;
	} else if (perot_order_is(node, "encrypt")) {
		perot_order_encrypt(valdtr, node, if_true);
		if_false->action = NULL;
		if_false->encrypt = NULL;
	} else if (perot_order_is(node, "not")) {
		perot_order_test(valdtr, sieve_ast_test_first(node), order,
				 if_false, if_true);
	} else if (perot_order_is(node, "allof")) {
		perot_order_tests(valdtr, node, TRUE, if_true, if_false);
	} else if (perot_order_is(node, "anyof")) {
		perot_order_tests(valdtr, node, FALSE, if_false, if_true);
	}
}

/*
 * Blocks
 */

static void
perot_order_block(struct sieve_validator *valdtr,
		  const struct sieve_ast_node *outer,
		  struct perot_order *order);

/* Goes through an `if` with all that belongs to it. Returns the last of its
   commands. */
static const struct sieve_ast_node *
perot_order_if(struct sieve_validator *valdtr,
	       const struct sieve_ast_node *node, struct perot_order *order)
{
	const struct sieve_ast_node *next;
	/* On the way to the next condition, and behind all of it */
	struct perot_order others = *order, behind = { .ended = TRUE };

	for (;; node = next) {
		struct perot_order block, rest = { .ended = TRUE };

		if (perot_order_is(node, "else"))
			block = others;
		else
			perot_order_test(valdtr, sieve_ast_test_first(node),
					 &others, &block, &rest);
		others = rest;
		perot_order_block(valdtr, node, &block);
		perot_order_meet(&behind, &block);
		next = sieve_ast_node_next(node);
		if (next == NULL || (!perot_order_is(next, "elsif") &&
				     !perot_order_is(next, "else")))
			break;
	}
	perot_order_meet(&behind, &others);
	*order = behind;
	return node;
}

static void
perot_order_block(struct sieve_validator *valdtr,
		  const struct sieve_ast_node *outer,
		  struct perot_order *order)
{
	static const char *const actions[] = {
		"keep", "fileinto", "redirect", "pipe", NULL
	};
	const struct sieve_ast_node *node;

	for (node = sieve_ast_command_first(outer); node != NULL;
	     node = sieve_ast_node_next(node)) {
		if (perot_order_is(node, "if")) {
			node = perot_order_if(valdtr, node, order);
		} else if (perot_order_is(node, "foreverypart")) {
			struct perot_order block = *order;

			perot_order_block(valdtr, node, &block);
			perot_order_meet(order, &block);
		} else if (perot_order_is(node, "encrypt") ||
			   perot_order_is(node, "pgp_encrypt")) {
			perot_order_encrypt(valdtr, node, order);
		} else if (str_array_icase_find(actions, node->identifier)) {
			perot_order_action(valdtr, node, order);
		} else if (perot_order_is(node, "stop")) {
			order->ended = TRUE;
			return;
		}
	}
}

/*
 * Validator extension
 */

static bool
perot_order_validate(const struct sieve_extension *ext,
		     struct sieve_validator *valdtr, void *context ATTR_UNUSED,
		     struct sieve_ast_argument *require_arg ATTR_UNUSED,
		     bool required ATTR_UNUSED)
{
	struct sieve_ast_node *root =
		sieve_ast_root(sieve_validator_ast(valdtr));
	const struct sieve_extension *first = perot_extension_main(ext);
	struct perot_order order = { .ended = FALSE };

	/* A script that requires both names is gone through once. */
	if (ext != first && sieve_validator_extension_loaded(valdtr, first))
		return TRUE;
	if (perot_script_author(valdtr) != PEROT_AUTHOR_AWAY)
		perot_order_block(valdtr, root, &order);
	return TRUE;
}

static const struct sieve_validator_extension perot_order_extension = {
	.ext = &perot_extension,
	.validate = perot_order_validate,
};

void perot_order_register(struct sieve_validator *valdtr,
			  const struct sieve_extension *ext)
{
	sieve_validator_extension_register(valdtr, ext, &perot_order_extension,
					   NULL);
}
