// SPDX-License-Identifier: GPL-2.0
/*
 * An I2C adapter of the test bed: /dev/i2c-N as the kernel makes it. A process takes the place of the wire: it reads
 * transfers from /dev/i2c-bench and writes their results. I2C and SMBus both arrive as messages, as on a Pi's adapter.
 *
 * Read:  u32 number, u8 messages, and of each: u8 address, u8 read, u16 bytes, and the bytes of a write.
 * Write: u32 number, s32 0 or the errno, and the bytes of all reads.
 */
#include <linux/fs.h>
#include <linux/i2c.h>
#include <linux/jiffies.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/uaccess.h>
#include <linux/wait.h>

#define LONGEST 4096

static DEFINE_MUTEX(lock); /* of all below; the I2C core allows one transfer at a time */
static DECLARE_WAIT_QUEUE_HEAD(asked);
static DECLARE_WAIT_QUEUE_HEAD(answered);
static u8 request[LONGEST], answer[LONGEST];
static size_t request_size, answer_size;
static u32 number;
static s32 failed;
static bool served, unread, done;

static int pack(struct i2c_msg *msgs, int count)
{
	size_t at = 0;
	int i;

	memcpy(request, &number, sizeof(number));
	at = sizeof(number);
	request[at++] = count;
	for (i = 0; i < count; i++) {
		bool read = msgs[i].flags & I2C_M_RD;

		if (at + 4 + msgs[i].len > LONGEST)
			return -EOPNOTSUPP;
		request[at++] = msgs[i].addr;
		request[at++] = read;
		request[at++] = msgs[i].len & 0xff;
		request[at++] = msgs[i].len >> 8;
		if (!read) {
			memcpy(request + at, msgs[i].buf, msgs[i].len);
			at += msgs[i].len;
		}
	}
	request_size = at;
	return 0;
}

static int unpack(struct i2c_msg *msgs, int count)
{
	size_t at = 0;
	int i;

	if (failed)
		return -failed;
	for (i = 0; i < count; i++) {
		if (!(msgs[i].flags & I2C_M_RD))
			continue;
		if (at + msgs[i].len > answer_size)
			return -EIO;
		memcpy(msgs[i].buf, answer + at, msgs[i].len);
		at += msgs[i].len;
	}
	return count;
}

static int transfer(struct i2c_adapter *adapter, struct i2c_msg *msgs, int count)
{
	int result;

	mutex_lock(&lock);
	number++;
	done = false;
	result = served ? pack(msgs, count) : -ENXIO;
	unread = !result;
	mutex_unlock(&lock);
	if (result)
		return result;
	wake_up(&asked);
	wait_event_timeout(answered, READ_ONCE(done) || !READ_ONCE(served), adapter->timeout);
	mutex_lock(&lock);
	result = done ? unpack(msgs, count) : -ETIMEDOUT;
	unread = false;
	number++; /* a later answer is ignored */
	mutex_unlock(&lock);
	return result;
}

static u32 functionality(struct i2c_adapter *adapter)
{
	return I2C_FUNC_I2C | I2C_FUNC_SMBUS_EMUL;
}

static const struct i2c_algorithm algorithm = {
	.master_xfer = transfer,
	.functionality = functionality,
};

static struct i2c_adapter adapter = {
	.owner = THIS_MODULE,
	.name = "cabinet test bed",
	.algo = &algorithm,
};

static int wire_open(struct inode *inode, struct file *file)
{
	int result = 0;

	mutex_lock(&lock);
	if (served)
		result = -EBUSY;
	else
		served = true;
	mutex_unlock(&lock);
	return result;
}

static int wire_release(struct inode *inode, struct file *file)
{
	mutex_lock(&lock);
	served = false;
	mutex_unlock(&lock);
	wake_up(&answered);
	return 0;
}

static ssize_t wire_read(struct file *file, char __user *to, size_t room, loff_t *offset)
{
	ssize_t result = 0;

	while (!result) {
		if (wait_event_interruptible(asked, READ_ONCE(unread)))
			return -ERESTARTSYS;
		mutex_lock(&lock);
		if (unread) {
			result = room < request_size ? -EMSGSIZE : request_size;
			if (result > 0 && copy_to_user(to, request, request_size))
				result = -EFAULT;
			unread = false;
		}
		mutex_unlock(&lock);
	}
	return result;
}

static ssize_t wire_write(struct file *file, const char __user *from, size_t size, loff_t *offset)
{
	struct {
		u32 number;
		s32 failed;
	} head;
	ssize_t result = size;

	if (size < sizeof(head) || size - sizeof(head) > LONGEST)
		return -EINVAL;
	if (copy_from_user(&head, from, sizeof(head)))
		return -EFAULT;
	mutex_lock(&lock);
	if (head.number == number && !done) {
		answer_size = size - sizeof(head);
		if (copy_from_user(answer, from + sizeof(head), answer_size)) {
			result = -EFAULT;
		} else {
			failed = head.failed;
			done = true;
		}
	}
	mutex_unlock(&lock);
	wake_up(&answered);
	return result;
}

static const struct file_operations wire_operations = {
	.owner = THIS_MODULE,
	.open = wire_open,
	.release = wire_release,
	.read = wire_read,
	.write = wire_write,
};

static struct miscdevice wire = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "i2c-bench",
	.fops = &wire_operations,
};

static int __init start(void)
{
	int result = misc_register(&wire);

	if (result)
		return result;
	adapter.nr = 1; /* /dev/i2c-1, as on a Pi */
	adapter.timeout = HZ;
	result = i2c_add_numbered_adapter(&adapter);
	if (result)
		misc_deregister(&wire);
	return result;
}

static void __exit stop(void)
{
	i2c_del_adapter(&adapter);
	misc_deregister(&wire);
}

module_init(start);
module_exit(stop);
MODULE_DESCRIPTION("I2C adapter whose wire is a process");
MODULE_LICENSE("GPL");
