/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "perot-shim.h"

#include <sys/resource.h>
#include <unistd.h>

/*
 * CPU time
 *
 * Pigeonhole ends a script that takes too much CPU time (sieve_max_cpu_time), and it is the sender who
 * chooses how large messages are. A message that takes most of what is allowed is deferred by us: what
 * Pigeonhole does about it in the end is to disable the script, and to deliver in clear. (What it adds
 * up over several runs is another matter: perot_forget_cpu_time() in compat.h.)
 */

static uint64_t perot_cpu_msecs(void)
{
	struct rusage usage;

	if (getrusage(RUSAGE_SELF, &usage) < 0)
		return 0;
	return (uint64_t)usage.ru_utime.tv_sec * 1000 +
		(uint64_t)usage.ru_utime.tv_usec / 1000;
}

/* The user CPU time at which reading ends: one for all commands of a run of a script, since Pigeonhole
   counts them together. Two thirds of what is allowed, for the rest of the script needs some, too. 0 if
   there is no limit. */
static uint64_t perot_cpu_deadline(const struct sieve_runtime_env *renv)
{
	const struct sieve_extension *ext = renv->oprtn->ext;
	unsigned int max_secs = perot_max_cpu_secs(renv->exec_env->svinst);
	struct sieve_interpreter *interp = renv->interp, *parent;
	uint64_t *deadline;

	if (max_secs == 0)
		return 0;
	while ((parent = sieve_interpreter_get_parent(interp)) != NULL)
		interp = parent;
	deadline = sieve_interpreter_extension_get_context(interp, ext);
	if (deadline == NULL) {
		deadline = p_new(sieve_interpreter_pool(interp), uint64_t, 1);
		*deadline = perot_cpu_msecs() + (uint64_t)max_secs * 667;
		sieve_interpreter_extension_set_context(interp, ext, deadline);
	}
	return *deadline;
}

/*
 * Mail in
 */

static ptrdiff_t
perot_input_read(void *context, unsigned char *buffer, size_t size)
{
	struct perot_mail_input *input = context;
	struct istream *stream = input->stream;
	const unsigned char *data;
	size_t available;
	ssize_t ret;

	if (input->cpu_deadline > 0 && perot_cpu_msecs() > input->cpu_deadline)
		return PEROT_READ_TOO_SLOW;
	while ((ret = i_stream_read_more(stream, &data, &available)) == 0) {
		/* Streams of mails are blocking: this does not happen. If it did, it must not be an
		   endless loop. */
		if (!stream->blocking)
			return PEROT_READ_FAILED;
	}
	if (ret < 0)
		return (stream->stream_errno == 0 ? 0 : PEROT_READ_FAILED);
	available = I_MIN(available, size);
	memcpy(buffer, data, available);
	i_stream_skip(stream, available);
	return (ptrdiff_t)available;
}

static int perot_input_rewind(void *context)
{
	struct perot_mail_input *input = context;

	i_stream_seek(input->stream, 0);
	return (input->stream->stream_errno == 0 ? 0 : -1);
}

int perot_input_open(struct mail *mail, const struct sieve_runtime_env *renv,
		     struct perot_mail_input *input_r, const char **error_r)
{
	i_zero(input_r);
	/* The stream belongs to the mail. */
	if (mail_get_stream(mail, NULL, NULL, &input_r->stream) < 0) {
		*error_r = mailbox_get_last_internal_error(mail->box, NULL);
		return -1;
	}
	input_r->cpu_deadline = perot_cpu_deadline(renv);
	input_r->input.context = input_r;
	input_r->input.read = perot_input_read;
	input_r->input.rewind = perot_input_rewind;
	return 0;
}

/*
 * Mail out
 *
 * Not iostream-temp: that one goes on in memory when the disk is full.
 */

/* How much is kept in memory */
#define PEROT_TEMP_MEMORY (128 * 1024)

struct perot_temp {
	buffer_t *memory;
	char *path_prefix;
	int fd;
};

struct perot_temp *perot_temp_create(struct sieve_instance *svinst)
{
	struct perot_temp *temp = i_new(struct perot_temp, 1);
	const char *dir = svinst->temp_dir;

	temp->memory = buffer_create_dynamic(default_pool, 8192);
	temp->path_prefix = i_strconcat(dir == NULL ? "/tmp" : dir,
					"/dovecot.perot-encrypt.", NULL);
	temp->fd = -1;
	return temp;
}

static int perot_temp_open(struct perot_temp *temp)
{
	string_t *path = t_str_new(128);

	str_append(path, temp->path_prefix);
	temp->fd = safe_mkstemp_hostpid(path, 0600, (uid_t)-1, (gid_t)-1);
	if (temp->fd == -1)
		return -1;
	if (unlink(str_c(path)) < 0 ||
	    write_full(temp->fd, temp->memory->data, temp->memory->used) < 0) {
		int open_errno = errno;

		i_close_fd(&temp->fd);
		errno = open_errno;
		return -1;
	}
	buffer_free(&temp->memory);
	return 0;
}

static int perot_temp_write(void *context, struct perot_bytes bytes)
{
	struct perot_temp *temp = context;
	int ret = 0;

	if (temp->memory != NULL &&
	    temp->memory->used + bytes.size <= PEROT_TEMP_MEMORY) {
		buffer_append(temp->memory, bytes.data, bytes.size);
		return 0;
	}
	if (temp->memory != NULL) T_BEGIN {
		ret = perot_temp_open(temp);
	} T_END;
	if (ret == 0)
		ret = write_full(temp->fd, bytes.data, bytes.size);
	if (ret == 0)
		return 0;
	/* EINTR would have the core write all of it again, while a part may have been written. */
	return (errno == 0 || errno == EINTR ? EIO : errno);
}

void perot_temp_output(struct perot_temp *temp, struct perot_output *output_r)
{
	output_r->context = temp;
	output_r->write = perot_temp_write;
}

void perot_temp_destroy(struct perot_temp **_temp)
{
	struct perot_temp *temp = *_temp;

	if (temp == NULL)
		return;
	*_temp = NULL;
	buffer_free(&temp->memory);
	i_close_fd(&temp->fd);
	i_free(temp->path_prefix);
	i_free(temp);
}

static struct istream *perot_temp_finish(struct perot_temp *temp)
{
	struct istream *input;

	if (temp->memory != NULL) {
		input = i_stream_create_copy_from_buffer(temp->memory);
	} else {
		input = i_stream_create_fd_autoclose(&temp->fd, IO_BLOCK_SIZE);
	}
	i_stream_set_name(input, "(encrypted message)");
	return input;
}

/*
 * What stays with the message
 */

struct perot_state {
	enum mail_flags flags;
	const char *const *keywords;
	time_t received_date;
};

static int
perot_state_get(struct mail *mail, struct perot_state *state_r,
		const char **error_r)
{
	if (mail_get_received_date(mail, &state_r->received_date) < 0) {
		*error_r = mailbox_get_last_internal_error(mail->box, NULL);
		return -1;
	}
	state_r->flags = mail_get_flags(mail) & MAIL_FLAGS_NONRECENT;
	state_r->keywords = p_strarray_dup(pool_datastack_create(),
					   mail_get_keywords(mail));
	return 0;
}

/* `mail` is a substituted one, and so in a raw mailbox of its own. */
static int
perot_state_set(struct mail *mail, const struct perot_state *state,
		const char **error_r)
{
	struct mailbox *box = mail->box;
	struct raw_mailbox *raw_box = RAW_MAILBOX(box);
	struct mail_keywords *keywords;
	uoff_t size;

	/* Dovecot puts another date in the place of one that is set here when it is first asked for the
	   size: `size` is a test. */
	if (mail_get_physical_size(mail, &size) < 0) {
		*error_r = mailbox_get_last_internal_error(box, NULL);
		return -1;
	}
	raw_box->mtime = state->received_date;
	if (state->flags != 0)
		mail_update_flags(mail, MODIFY_REPLACE, state->flags);
	if (*state->keywords != NULL) {
		keywords = mailbox_keywords_create_valid(box, state->keywords);
		mail_update_keywords(mail, MODIFY_REPLACE, keywords);
		mailbox_keywords_unref(&keywords);
	}
	return 0;
}

int perot_temp_substitute(struct perot_temp *temp,
			  const struct sieve_runtime_env *renv,
			  const char **error_r)
{
	struct perot_state state;
	struct istream *input;
	int ret;

	if (perot_state_get(sieve_message_get_mail(renv->msgctx), &state,
			    error_r) < 0)
		return -1;
	input = perot_temp_finish(temp);
	if (!input->seekable) {
		/* Dovecot could not tell what kind of file it is. It would go on from where it was written
		   last, as with a pipe, and store an empty message. */
		i_stream_unref(&input);
		*error_r = "the encrypted message cannot be read back from "
			"mail_temp_dir";
		return -1;
	}
	ret = sieve_message_substitute(renv->msgctx, input);
	i_stream_unref(&input);
	if (ret < 0) {
		*error_r = "the mail server does not take the encrypted message";
		return -1;
	}
	return perot_state_set(sieve_message_get_mail(renv->msgctx), &state,
			       error_r);
}
