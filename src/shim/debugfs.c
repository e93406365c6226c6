// SPDX-License-Identifier: GPL-2.0
/*
 * debugfs.c: the files of /sys/kernel/debug/objrmap, text of the core passed on.
 *
 * Lists and answers stream: the position of seq_file is the core's cursor, one call of show makes one item, and no
 * buffer grows with the pool. show never changes the position it was given, because seq_file calls it again with a
 * larger buffer when the item did not fit.
 *
 * query and graph keep the selector in the open file. A write puts the file back to its beginning, so that the next
 * read is the whole answer to it. An open file that has not been written to answers the last selector that anybody
 * wrote, good or bad.
 *
 * Locking: seq_file's own mutex serialises the users of one open file, objr_last.lock guards the last selectors; user
 * memory is copied under neither, except by seq_file itself into the reader's buffer.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/debugfs.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/sched.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "shim/module.h"
#include "debugfs.h"
#include "text.h"

static struct dentry *objr_debugfs_dir;

/* ---- texts of one piece: stats, verify --------------------------------------------------- */

static int objr_stats_show(struct seq_file *seq, void *unused)
{
	struct objr_out out = { .seq = seq };

	objr_show_stats(seq->private, &out);
	return 0;
}

static int objr_stats_open(struct inode *inode, struct file *file)
{
	return single_open(file, objr_stats_show, inode->i_private);
}

static const struct file_operations objr_stats_fops = {
	.owner = THIS_MODULE,
	.open = objr_stats_open,
	.read = seq_read,
	.llseek = seq_lseek,
	.release = single_release,
};

static int objr_verify_show(struct seq_file *seq, void *unused)
{
	struct objr_out out = { .seq = seq };

	/* The text says how it went, also when the check could not run. */
	objr_show_verify(seq->private, &out);
	return 0;
}

static int objr_verify_open(struct inode *inode, struct file *file)
{
	return single_open(file, objr_verify_show, inode->i_private);
}

static const struct file_operations objr_verify_fops = {
	.owner = THIS_MODULE,
	.open = objr_verify_open,
	.read = seq_read,
	.llseek = seq_lseek,
	.release = single_release,
};

/* ---- what streams ------------------------------------------------------------------------ */

struct objr_selector_file;

/* One open file. Guarded by seq_file's mutex. */
struct objr_stream {
	struct objr_world *world;
	int (*item)(struct objr_stream *stream, u64 *position, struct objr_out *out);
	u64 position; /* of the item to show */
	u64 next; /* behind the item that was shown */
	bool ended;

	enum objr_list list; /* lists only */

	struct objr_selector_file *selectors; /* query and graph only */
	struct objr_query query;
	bool written; /* query is this open file's own */
};

static void objr_stream_take_last(struct objr_stream *stream);

static void *objr_stream_start(struct seq_file *seq, loff_t *position)
{
	struct objr_stream *stream = seq->private;

	if (*position == 0)
		objr_stream_take_last(stream);
	stream->position = *position;
	stream->ended = false;
	return stream;
}

static void *objr_stream_next(struct seq_file *seq, void *item, loff_t *position)
{
	struct objr_stream *stream = item;

	cond_resched();
	if (stream->ended) {
		/* seq_file wants to see a step; the cursor behind the last item shows nothing just as well. */
		++*position;
		return NULL;
	}
	stream->position = stream->next;
	*position = stream->next;
	return stream;
}

static void objr_stream_stop(struct seq_file *seq, void *item)
{
}

static int objr_stream_show(struct seq_file *seq, void *item)
{
	struct objr_stream *stream = item;
	struct objr_out out = { .seq = seq };
	u64 next = stream->position;

	stream->ended = !stream->item(stream, &next, &out);
	stream->next = next;
	return 0;
}

static const struct seq_operations objr_stream_operations = {
	.start = objr_stream_start,
	.next = objr_stream_next,
	.stop = objr_stream_stop,
	.show = objr_stream_show,
};

static struct objr_stream *objr_stream_open(struct inode *inode, struct file *file)
{
	struct objr_stream *stream;

	stream = __seq_open_private(file, &objr_stream_operations, sizeof(*stream));
	if (stream)
		stream->world = inode->i_private;
	return stream;
}

/* ---- lists ------------------------------------------------------------------------------- */

static int objr_list_item(struct objr_stream *stream, u64 *position, struct objr_out *out)
{
	return objr_show_list(stream->world, stream->list, position, out);
}

static int objr_list_open(struct inode *inode, struct file *file, enum objr_list list)
{
	struct objr_stream *stream = objr_stream_open(inode, file);

	if (!stream)
		return -ENOMEM;
	stream->item = objr_list_item;
	stream->list = list;
	return 0;
}

#define OBJR_LIST_FILE(name, list)						\
static int objr_##name##_open(struct inode *inode, struct file *file)		\
{										\
	return objr_list_open(inode, file, list);				\
}										\
										\
static const struct file_operations objr_##name##_fops = {			\
	.owner = THIS_MODULE,							\
	.open = objr_##name##_open,						\
	.read = seq_read,							\
	.llseek = seq_lseek,							\
	.release = seq_release_private,						\
}

OBJR_LIST_FILE(mappers, OBJR_LIST_MAPPERS);
OBJR_LIST_FILE(pages, OBJR_LIST_PAGES);
OBJR_LIST_FILE(mms, OBJR_LIST_MMS);
OBJR_LIST_FILE(anon_vmas, OBJR_LIST_ANON_VMAS);
OBJR_LIST_FILE(files, OBJR_LIST_FILES);

/* ---- query and graph --------------------------------------------------------------------- */

/* The last selector that anybody wrote into one of these files. */
struct objr_selector_file {
	struct mutex lock; /* a leaf */
	struct objr_query last; /* guarded by lock */
};

static struct objr_selector_file objr_query_selectors = {
	.lock = __MUTEX_INITIALIZER(objr_query_selectors.lock),
};

static struct objr_selector_file objr_graph_selectors = {
	.lock = __MUTEX_INITIALIZER(objr_graph_selectors.lock),
};

static void objr_stream_take_last(struct objr_stream *stream)
{
	struct objr_selector_file *selectors = stream->selectors;

	if (!selectors || stream->written)
		return;
	mutex_lock(&selectors->lock);
	stream->query = selectors->last;
	mutex_unlock(&selectors->lock);
}

/* The core also words what is wrong with a bad selector. */
static int objr_query_item(struct objr_stream *stream, u64 *position, struct objr_out *out)
{
	return objr_show_query(stream->world, &stream->query, position, out);
}

static int objr_graph_item(struct objr_stream *stream, u64 *position, struct objr_out *out)
{
	return objr_show_graph(stream->world, &stream->query, position, out);
}

static int objr_query_open(struct inode *inode, struct file *file)
{
	struct objr_stream *stream = objr_stream_open(inode, file);

	if (!stream)
		return -ENOMEM;
	stream->item = objr_query_item;
	stream->selectors = &objr_query_selectors;
	return 0;
}

static int objr_graph_open(struct inode *inode, struct file *file)
{
	struct objr_stream *stream = objr_stream_open(inode, file);

	if (!stream)
		return -ENOMEM;
	stream->item = objr_graph_item;
	stream->selectors = &objr_graph_selectors;
	return 0;
}

void objr_seq_restart(struct seq_file *seq)
{
	seq->index = 0;
	seq->from = 0;
	seq->count = 0;
	seq->read_pos = 0;
}

/* The selector that was written becomes the one of this open file, and the last one of all. */
static void objr_stream_select(struct seq_file *seq, const struct objr_query *query)
{
	struct objr_stream *stream = seq->private;

	mutex_lock(&stream->selectors->lock);
	stream->selectors->last = *query;
	mutex_unlock(&stream->selectors->lock);

	mutex_lock(&seq->lock);
	stream->query = *query;
	stream->written = true;
	objr_seq_restart(seq);
	mutex_unlock(&seq->lock);
}

static ssize_t objr_selector_write(struct file *file, const char __user *buffer, size_t length,
				   loff_t *position)
{
	struct objr_query query = {};
	char *text;

	if (length == 0)
		return 0;
	if (length > OBJR_SELECTOR_MAX) {
		query.error = -EINVAL;
		snprintf(query.message, sizeof(query.message), "selector longer than %d bytes",
			 OBJR_SELECTOR_MAX);
	} else {
		text = memdup_user_nul(buffer, length);
		if (IS_ERR(text))
			return PTR_ERR(text);
		objr_query_parse(&query, text, length);
		kfree(text);
	}

	objr_stream_select(file->private_data, &query);
	/* Both: the kernel takes the position over only from a write that succeeds. */
	*position = 0;
	file->f_pos = 0;
	return query.error ? query.error : length;
}

static const struct file_operations objr_query_fops = {
	.owner = THIS_MODULE,
	.open = objr_query_open,
	.read = seq_read,
	.write = objr_selector_write,
	.llseek = seq_lseek,
	.release = seq_release_private,
};

static const struct file_operations objr_graph_fops = {
	.owner = THIS_MODULE,
	.open = objr_graph_open,
	.read = seq_read,
	.write = objr_selector_write,
	.llseek = seq_lseek,
	.release = seq_release_private,
};

/* ---- the directory ----------------------------------------------------------------------- */

static const struct {
	const char *name;
	umode_t mode;
	const struct file_operations *fops;
} objr_debugfs_files[] = {
	{ "anon_vmas", 0400, &objr_anon_vmas_fops },
	{ "command", 0600, &objr_command_fops },
	{ "files", 0400, &objr_files_fops },
	{ "graph", 0600, &objr_graph_fops },
	{ "mappers", 0400, &objr_mappers_fops },
	{ "mms", 0400, &objr_mms_fops },
	{ "pages", 0400, &objr_pages_fops },
	{ "query", 0600, &objr_query_fops },
	{ "scheme", 0600, &objr_scheme_fops },
	{ "stats", 0400, &objr_stats_fops },
	{ "verify", 0400, &objr_verify_fops },
};

void objr_debugfs_init(struct objr_world *world)
{
	struct inode *inode;
	size_t i;

	/* Nothing written yet is a bad selector too; the core words it. */
	objr_query_parse(&objr_query_selectors.last, "", 0);
	objr_query_parse(&objr_graph_selectors.last, "", 0);

	objr_debugfs_dir = debugfs_create_dir(KBUILD_MODNAME, NULL);
	if (IS_ERR(objr_debugfs_dir)) {
		if (PTR_ERR(objr_debugfs_dir) != -ENODEV)
			pr_warn("no debugfs directory: error %ld\n", PTR_ERR(objr_debugfs_dir));
		return;
	}
	inode = d_inode(objr_debugfs_dir);
	inode_lock(inode);
	inode->i_mode = S_IFDIR | 0700;
	inode_unlock(inode);

	for (i = 0; i < ARRAY_SIZE(objr_debugfs_files); i++)
		debugfs_create_file(objr_debugfs_files[i].name, objr_debugfs_files[i].mode,
				    objr_debugfs_dir, world, objr_debugfs_files[i].fops);
}

void objr_debugfs_exit(void)
{
	debugfs_remove(objr_debugfs_dir);
	objr_command_exit();
}
