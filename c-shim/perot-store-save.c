/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "perot-store.h"
#include "istream-private.h"

/*
 * Saves
 *
 * A mail program hands a message over in pieces, and its stream can be read
 * once (APPEND). Nothing of it reaches the storage before it is complete and
 * encrypted: until then it waits in memory or, enciphered, in a file.
 *
 * Other plugins are behind this one, and see all of the save at its end.
 */

struct perot_store_save {
	union mailbox_transaction_module_context module_ctx;
	struct istream *input;
	struct perot_spool *spool;
};

static MODULE_CONTEXT_DEFINE_INIT(perot_store_save_module,
				  &mail_storage_module_register);

/* Returns the save that waits in a transaction, which has one at a time.
   Returns NULL if the storage has taken the save over. */
static struct perot_store_save *
perot_store_save(const struct mail_save_context *ctx)
{
	return MODULE_CONTEXT(ctx->transaction, perot_store_save_module);
}

static void
perot_store_save_wait(struct mail_save_context *ctx, struct istream *input)
{
	const struct perot_store_mailbox *sbox =
		perot_store_mailbox(ctx->transaction->box);
	const char *temp_dir = sbox->suser->user->set->mail_temp_dir;
	struct perot_store_save *save;

	save = i_new(struct perot_store_save, 1);
	save->input = input;
	i_stream_ref(input);
	save->spool = perot_core->spool_open(perot_bytes(temp_dir));
	MODULE_CONTEXT_SET(ctx->transaction, perot_store_save_module, save);
}

static void perot_store_save_forget(struct mail_save_context *ctx)
{
	struct perot_store_save *save = perot_store_save(ctx);

	MODULE_CONTEXT_UNSET(ctx->transaction, perot_store_save_module);
	i_stream_unref(&save->input);
	perot_core->spool_close(save->spool);
	i_free(save);
}

/*
 * Messages that have waited
 */

static ptrdiff_t
perot_store_spool_read(void *context, unsigned char *buffer, size_t size)
{
	return perot_core->spool_read(context, buffer, size);
}

static int perot_store_spool_rewind(void *context)
{
	return perot_core->spool_rewind(context);
}

/* A stream that reads from the spool, for a message that is stored as it is. */
struct perot_spool_istream {
	struct istream_private istream;
	struct perot_spool *spool;
};

static void perot_spool_istream_fail(struct istream_private *stream)
{
	stream->istream.stream_errno = EIO;
	io_stream_set_error(&stream->iostream, "It cannot be read back");
}

static ssize_t perot_spool_istream_read(struct istream_private *stream)
{
	struct perot_spool_istream *sstream =
		container_of(stream, struct perot_spool_istream, istream);
	ptrdiff_t ret;
	size_t size;

	if (!i_stream_try_alloc(stream, 1, &size))
		return -2;
	ret = perot_core->spool_read(sstream->spool,
				     stream->w_buffer + stream->pos, size);
	if (ret <= 0) {
		if (ret < 0)
			perot_spool_istream_fail(stream);
		stream->istream.eof = TRUE;
		return -1;
	}
	stream->pos += ret;
	return ret;
}

static struct istream *perot_spool_istream_create(struct perot_spool *spool)
{
	struct perot_spool_istream *sstream;
	struct istream *stream;

	sstream = i_new(struct perot_spool_istream, 1);
	sstream->spool = spool;
	sstream->istream.max_buffer_size = IO_BLOCK_SIZE;
	sstream->istream.read = perot_spool_istream_read;
	sstream->istream.istream.blocking = TRUE;
	stream = i_stream_create(&sstream->istream, NULL, -1, 0);
	i_stream_set_name(stream, "(saved message)");
	if (perot_core->spool_rewind(spool) < 0)
		perot_spool_istream_fail(&sstream->istream);
	return stream;
}

/*
 * The end of a save
 */

/* Hands all of a message over to the storage, as mail_storage_copy() does. If
   it fails, the caller cancels the save. */
static int
perot_store_save_stream(struct mail_save_context *ctx, struct istream *input,
			const struct mailbox_vfuncs *super)
{
	ssize_t ret;

	if (super->save_begin(ctx, input) < 0)
		return -1;
	do {
		if (super->save_continue(ctx) < 0)
			return -1;
		ret = i_stream_read(input);
		i_assert(ret != 0);
	} while (ret != -1);

	if (input->stream_errno != 0) {
		mailbox_set_critical(ctx->transaction->box,
			"save: i_stream_read(%s) failed: %s",
			i_stream_get_name(input), i_stream_get_error(input));
		return -1;
	}
	return 0;
}

struct istream *perot_store_ciphertext(struct perot_result *result)
{
	struct istream *stream;
	const char *error;

	if (!perot_core->report(result)->replaces)
		return NULL;
	stream = perot_result_stream(result, &error);
	if (stream == NULL)
		perot_core->refuse(result, perot_bytes(error));
	return stream;
}

static int
perot_store_save_complete(struct mail_save_context *ctx,
			  struct perot_spool *spool)
{
	const struct perot_store_mailbox *sbox =
		perot_store_mailbox(ctx->transaction->box);
	const struct mailbox_vfuncs *super = &sbox->module_ctx.super;
	const struct perot_input input = {
		.context = spool,
		.read = perot_store_spool_read,
		.rewind = perot_store_spool_rewind,
	};
	struct perot_store_request request;
	struct perot_result *result;
	struct istream *stream;
	int ret;

	perot_store_request_init(&request, ctx);
	result = perot_store_encrypt(&request, &input);
	stream = perot_store_ciphertext(result);
	if (stream == NULL)
		stream = perot_spool_istream_create(spool);
	ret = perot_store_finish(&request, result);
	if (ret == 0)
		ret = perot_store_save_stream(ctx, stream, super);
	if (ret == 0)
		ret = super->save_finish(ctx);
	else
		super->save_cancel(ctx);
	i_stream_unref(&stream);
	perot_core->free(result);
	return ret;
}

/* Saves ciphertext in place of a message that is copied, which is left as if it
   had been read to its end: Dovecot goes on until it is. */
static int
perot_store_save_replaced(struct mail_save_context *ctx, struct istream *input)
{
	struct perot_store_mailbox *sbox =
		perot_store_mailbox(ctx->transaction->box);
	const struct perot_store_last *last = sbox->replaced;
	const unsigned char *data;
	size_t size;

	sbox->replaced = NULL;
	/* This is another message than its source, with another GUID. It is
	   larger, too: for a move, quota would not look. */
	mailbox_save_set_guid(ctx, NULL);
	ctx->moving = FALSE;
	i_stream_seek(last->ciphertext, 0);
	if (perot_store_save_stream(ctx, last->ciphertext,
				    &sbox->module_ctx.super) < 0)
		return -1;
	i_stream_seek(input, last->source_end);
	while (i_stream_read_more(input, &data, &size) > 0)
		i_stream_skip(input, size);
	return 0;
}

/*
 * Hooks
 */

int perot_store_save_begin(struct mail_save_context *ctx, struct istream *input)
{
	struct perot_store_mailbox *sbox =
		perot_store_mailbox(ctx->transaction->box);

	if (sbox->replaced != NULL)
		return perot_store_save_replaced(ctx, input);
	/* Other copies are not to be encrypted (perot-store-copy.c). */
	if (ctx->copying_or_moving || perot_store_is_exempt(ctx))
		return sbox->module_ctx.super.save_begin(ctx, input);
	perot_store_save_wait(ctx, input);
	return 0;
}

/* Reports that the message cannot wait. It is then not stored. */
static int
perot_store_save_refuse(struct mail_save_context *ctx, int spool_errno)
{
	const struct perot_input unread = { .context = NULL };
	struct perot_store_request request;
	struct perot_result *result;

	perot_store_request_init(&request, ctx);
	request.request.obstacle = PEROT_OBSTACLE_WAIT;
	request.request.obstacle_text = perot_bytes(strerror(spool_errno));
	result = perot_store_encrypt(&request, &unread);
	(void)perot_store_finish(&request, result);
	perot_core->free(result);
	return -1;
}

int perot_store_save_continue(struct mail_save_context *ctx)
{
	struct mailbox *box = ctx->transaction->box;
	struct perot_store_save *save = perot_store_save(ctx);
	struct perot_bytes bytes;
	int spool_errno;

	if (save == NULL) {
		return perot_store_mailbox(box)->
			module_ctx.super.save_continue(ctx);
	}
	do {
		bytes.data = i_stream_get_data(save->input, &bytes.size);
		spool_errno = perot_core->spool_write(save->spool, bytes);
		if (spool_errno != 0)
			return perot_store_save_refuse(ctx, spool_errno);
		i_stream_skip(save->input, bytes.size);
	} while (i_stream_read(save->input) > 0);

	if (save->input->stream_errno != 0) {
		mail_set_critical(ctx->dest_mail, "save: read(%s) failed: %s",
				  i_stream_get_name(save->input),
				  i_stream_get_error(save->input));
		return -1;
	}
	return 0;
}

int perot_store_save_finish(struct mail_save_context *ctx)
{
	struct perot_store_save *save = perot_store_save(ctx);
	int ret;

	if (save == NULL) {
		return perot_store_mailbox(ctx->transaction->box)->
			module_ctx.super.save_finish(ctx);
	}
	ret = perot_store_save_complete(ctx, save->spool);
	perot_store_save_forget(ctx);
	return ret;
}

void perot_store_save_cancel(struct mail_save_context *ctx)
{
	/* The storage cancels also what it has not begun: all storages can do
	   that, and know best how. */
	perot_store_mailbox(ctx->transaction->box)->
		module_ctx.super.save_cancel(ctx);
	if (perot_store_save(ctx) != NULL)
		perot_store_save_forget(ctx);
}
