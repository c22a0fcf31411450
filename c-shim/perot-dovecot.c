/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "perot-dovecot.h"

#include <sys/resource.h>

const struct perot_core *perot_core;

const char *perot_recipient(struct mail_user *user)
{
	return event_find_field_recursive_str(user->event, "rcpt_to");
}

uint64_t perot_cpu_msecs(void)
{
	struct rusage usage;

	if (getrusage(RUSAGE_SELF, &usage) < 0)
		return 0;
	return (uint64_t)usage.ru_utime.tv_sec * 1000 +
		(uint64_t)usage.ru_utime.tv_usec / 1000;
}

/*
 * Log
 */

static void
perot_event_log(struct event *event, enum perot_level level,
		const char *command, struct perot_bytes line)
{
	const char *text = perot_str(line);

	switch (level) {
	case PEROT_LEVEL_ERROR:
		e_error(event, "%s: %s", command, text);
		break;
	case PEROT_LEVEL_WARNING:
		e_warning(event, "%s: %s", command, text);
		break;
	case PEROT_LEVEL_INFO:
		e_info(event, "%s: %s", command, text);
		break;
	case PEROT_LEVEL_DEBUG:
		e_debug(event, "%s: %s", command, text);
		break;
	}
}

static void
perot_log_write(void *context, enum perot_level level, struct perot_bytes line)
{
	struct event *event = context;

	perot_event_log(event, level, "encrypt", line);
}

void perot_log_init(struct perot_log *log_r, struct event *event)
{
	log_r->context = event;
	log_r->write = perot_log_write;
}

void perot_report_log(const struct perot_report *report, struct event *event,
		      const char *command)
{
	struct event_passthrough *e;
	size_t i;

	if (!report->has_line)
		return;
	e = event_create_passthrough(event);
	if (report->field_count > 0)
		e = e->set_name("sieve_perot_encrypt_finished");
	for (i = 0; i < report->field_count; i++) {
		const struct perot_field *field = &report->fields[i];

		if (field->text.data != NULL)
			e = e->add_str(field->name, perot_str(field->text));
		else
			e = e->add_int(field->name, field->number);
	}
	perot_event_log(e->event(), report->level, command, report->line);
}

/*
 * Message in
 */

static ptrdiff_t
perot_mail_input_read(void *context, unsigned char *buffer, size_t size)
{
	struct perot_mail_input *input = context;
	struct istream *stream = input->stream;
	const unsigned char *data;
	size_t available;
	ssize_t ret;

	while ((ret = i_stream_read_more(stream, &data, &available)) == 0) {
		/* Streams of mails are blocking, so this does not happen. If
		   it did, it must not become an endless loop. */
		if (!stream->blocking)
			return -1;
	}
	if (ret < 0)
		return (stream->stream_errno == 0 ? 0 : -1);
	available = I_MIN(available, size);
	memcpy(buffer, data, available);
	i_stream_skip(stream, available);
	return (ptrdiff_t)available;
}

static int perot_mail_input_rewind(void *context)
{
	struct perot_mail_input *input = context;

	i_stream_seek(input->stream, 0);
	return (input->stream->stream_errno == 0 ? 0 : -1);
}

void perot_mail_input_init(struct perot_mail_input *input_r,
			   struct istream *stream)
{
	input_r->input.context = input_r;
	input_r->input.read = perot_mail_input_read;
	input_r->input.rewind = perot_mail_input_rewind;
	input_r->stream = stream;
}

/*
 * Message out
 */

struct istream *
perot_result_stream(struct perot_result *result, const char **error_r)
{
	struct perot_bytes bytes = { .data = NULL, .size = 0 };
	struct istream *stream;
	int fd;

	fd = perot_core->take(result, &bytes);
	if (fd != -1) {
		stream = i_stream_create_fd_autoclose(&fd, IO_BLOCK_SIZE);
	} else if (bytes.size > 0) {
		stream = i_stream_create_copy_from_data(bytes.data, bytes.size);
	} else {
		*error_r = "there is no encrypted message";
		return NULL;
	}
	i_stream_set_name(stream, PEROT_CIPHERTEXT_NAME);
	if (!stream->seekable) {
		/* Dovecot takes the file for a pipe if it cannot find out what
		   it is, would go on from where it was written last, and store
		   an empty message. */
		i_stream_unref(&stream);
		*error_r = "the encrypted message cannot be read back from "
			"mail_temp_dir";
		return NULL;
	}
	return stream;
}
