// SPDX-License-Identifier: GPL-2.0
/*
 * debugfs_command.c: the file command: what is written is run, once, before the write returns; what came of it is read
 * back.
 *
 * A result is text that does not change any more. An open file that has written reads its own last result; one that has
 * not, the last result of anybody at the time of its first read, so that `echo ... > command; cat command` works.
 *
 * Ownership: results are counted: by the open file that made or reads it, by being the last one, by a read under way.
 * Locking: objr_last_result_lock (a leaf) guards every pointer to a result. A command runs, and user memory is copied,
 * under no lock: commands of several files run at the same time, those of one file as well.
 */
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/refcount.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "shim/module.h"
#include "debugfs.h"
#include "text.h"

/* Some 20,000 mappers. More is for several commands, each on a part of the range. */
#define OBJR_RESULT_MAX (4u << 20)

struct objr_result {
	refcount_t refs;
	struct objr_text text; /* immutable once it can be found */
};

/* One open file. */
struct objr_command_file {
	struct objr_world *world; /* immutable */
	struct objr_result *result; /* what it reads; guarded by objr_last_result_lock */
	bool written; /* result is its own; guarded by objr_last_result_lock */
};

static DEFINE_MUTEX(objr_last_result_lock);
static struct objr_result *objr_last_result;

/* ---- results ----------------------------------------------------------------------------- */

static struct objr_result *objr_result_create(void)
{
	struct objr_result *result = kzalloc(sizeof(*result), GFP_KERNEL_ACCOUNT);

	if (!result)
		return NULL;
	refcount_set(&result->refs, 1);
	result->text.most = OBJR_RESULT_MAX;
	return result;
}

static struct objr_result *objr_result_get(struct objr_result *result)
{
	if (result)
		refcount_inc(&result->refs);
	return result;
}

static void objr_result_put(struct objr_result *result)
{
	if (!result || !refcount_dec_and_test(&result->refs))
		return;
	objr_text_free(&result->text);
	kfree(result);
}

/* Text that was cut ends with its last whole line, and says so. */
static void objr_result_close(struct objr_result *result)
{
	struct objr_text *text = &result->text;
	struct objr_out out = { .text = text };

	if (!text->cut)
		return;
	text->cut = false;
	text->most += 200;
	while (text->used && text->bytes[text->used - 1] != '\n')
		text->used--;
	objr_out_printf(&out, "error the rest did not fit into %u bytes; the command has run on all: select less\n",
			OBJR_RESULT_MAX);
}

/* ---- running ----------------------------------------------------------------------------- */

/* 0, or the error of the command, of which the text says why. */
static int objr_command_run(struct objr_world *world, const char *bytes, size_t length,
			    struct objr_text *text)
{
	struct objr_out out = { .text = text };
	struct objr_command command;

	objr_command_parse(&command, bytes, length);
	return objr_run_command(world, &command, &out);
}

/* The result becomes what this file reads, and the last one of all. Consumes the reference. */
static void objr_command_publish(struct objr_command_file *own, struct objr_result *result)
{
	struct objr_result *before, *last;

	objr_result_get(result);
	mutex_lock(&objr_last_result_lock);
	before = own->result;
	own->result = result;
	own->written = true;
	last = objr_last_result;
	objr_last_result = result;
	mutex_unlock(&objr_last_result_lock);
	objr_result_put(before);
	objr_result_put(last);
}

static ssize_t objr_command_write(struct file *file, const char __user *buffer, size_t length,
				  loff_t *position)
{
	struct objr_command_file *own = file->private_data;
	struct objr_result *result;
	struct objr_out out;
	char *bytes;
	int error;

	if (length == 0)
		return 0;
	result = objr_result_create();
	if (!result)
		return -ENOMEM;
	if (length > OBJR_SELECTOR_MAX) {
		out = (struct objr_out){ .text = &result->text };
		objr_out_printf(&out, "error command longer than %d bytes\n", OBJR_SELECTOR_MAX);
		error = -EINVAL;
	} else {
		bytes = memdup_user_nul(buffer, length);
		if (IS_ERR(bytes)) {
			objr_result_put(result);
			return PTR_ERR(bytes);
		}
		error = objr_command_run(own->world, bytes, length, &result->text);
		kfree(bytes);
	}

	objr_result_close(result);
	objr_command_publish(own, result);
	/* Both: the kernel takes the position over only from a write that succeeds. */
	*position = 0;
	file->f_pos = 0;
	return error ? error : length;
}

/* ---- reading ----------------------------------------------------------------------------- */

/* What the file reads, from its beginning on the same one; NULL: nobody has commanded anything. With a reference. */
static struct objr_result *objr_command_result(struct objr_command_file *own, loff_t position)
{
	struct objr_result *before = NULL, *result;

	mutex_lock(&objr_last_result_lock);
	if (!own->written && (position == 0 || !own->result)) {
		before = own->result;
		own->result = objr_result_get(objr_last_result);
	}
	result = objr_result_get(own->result);
	mutex_unlock(&objr_last_result_lock);
	objr_result_put(before);
	return result;
}

static ssize_t objr_command_read(struct file *file, char __user *buffer, size_t length,
				 loff_t *position)
{
	static const char nothing[] =
		"error nothing commanded: write a command, for example unmap page 3\n";
	struct objr_result *result = objr_command_result(file->private_data, *position);
	ssize_t count;

	if (result)
		count = simple_read_from_buffer(buffer, length, position, result->text.bytes,
						result->text.used);
	else
		count = simple_read_from_buffer(buffer, length, position, nothing,
						sizeof(nothing) - 1);
	objr_result_put(result);
	return count;
}

static int objr_command_open(struct inode *inode, struct file *file)
{
	struct objr_command_file *own = kzalloc(sizeof(*own), GFP_KERNEL_ACCOUNT);

	if (!own)
		return -ENOMEM;
	own->world = inode->i_private;
	file->private_data = own;
	return 0;
}

static int objr_command_release(struct inode *inode, struct file *file)
{
	struct objr_command_file *own = file->private_data;

	objr_result_put(own->result);
	kfree(own);
	return 0;
}

const struct file_operations objr_command_fops = {
	.owner = THIS_MODULE,
	.open = objr_command_open,
	.read = objr_command_read,
	.write = objr_command_write,
	.llseek = default_llseek,
	.release = objr_command_release,
};

void objr_command_exit(void)
{
	objr_result_put(objr_last_result);
	objr_last_result = NULL;
}
