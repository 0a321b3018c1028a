/* SPDX-License-Identifier: MIT */
/*
 * What is used of QEMU's plugin interface, version 4 (QEMU 9.1 to 10.0; later ones accept it), as
 * documented; Debian ships no header. And of GLib, which QEMU brings along.
 */
#ifndef FLUSHQ_AUDIT_QEMU_H
#define FLUSHQ_AUDIT_QEMU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define QEMU_API 4
#define QEMU_EXPORT __attribute__((visibility("default")))

typedef uint64_t qemu_plugin_id_t;
typedef uint32_t qemu_plugin_meminfo_t;

struct qemu_info {
	const char *target_name;
	struct {
		int min, cur;
	} version;
	bool system_emulation;
	struct {
		int smp_vcpus, max_vcpus;
	} system;
};

enum { QEMU_NO_REGS, QEMU_R_REGS }; /* what a callback touches */
enum { QEMU_MEM_R = 1, QEMU_MEM_W, QEMU_MEM_RW };
enum { QEMU_INLINE_ADD };

typedef struct {
	char *data;
	unsigned int len;
} GArray;

typedef struct {
	uint8_t *data;
	unsigned int len;
} GByteArray;

struct qemu_reg {
	void *handle;
	const char *name;
	const char *feature;
};

struct qemu_u64 {
	void *score;
	size_t offset;
};

GByteArray *g_byte_array_new(void);
GByteArray *g_byte_array_set_size(GByteArray *array, unsigned int size);
char *g_array_free(GArray *array, int segment);

typedef void (*qemu_plain_cb)(qemu_plugin_id_t id, void *arg);
typedef void (*qemu_vcpu_cb)(qemu_plugin_id_t id, unsigned int vcpu);
typedef void (*qemu_tb_cb)(qemu_plugin_id_t id, void *tb);
typedef void (*qemu_exec_cb)(unsigned int vcpu, void *arg);
typedef void (*qemu_mem_cb)(unsigned int vcpu, qemu_plugin_meminfo_t info, uint64_t va, void *arg);

void qemu_plugin_register_vcpu_init_cb(qemu_plugin_id_t id, qemu_vcpu_cb cb);
void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id, qemu_tb_cb cb);
void qemu_plugin_register_atexit_cb(qemu_plugin_id_t id, qemu_plain_cb cb, void *arg);
void qemu_plugin_register_vcpu_tb_exec_cb(void *tb, qemu_exec_cb cb, int flags, void *arg);
void qemu_plugin_register_vcpu_tb_exec_inline_per_vcpu(void *tb, int op, struct qemu_u64 entry,
						       uint64_t imm);
void qemu_plugin_register_vcpu_insn_exec_cb(void *insn, qemu_exec_cb cb, int flags, void *arg);
void qemu_plugin_register_vcpu_mem_inline_per_vcpu(void *insn, int rw, int op,
						   struct qemu_u64 entry, uint64_t imm);
void qemu_plugin_register_vcpu_mem_cb(void *insn, qemu_mem_cb cb, int flags, int rw, void *arg);

size_t qemu_plugin_tb_n_insns(const void *tb);
void *qemu_plugin_tb_get_insn(const void *tb, size_t i);
size_t qemu_plugin_insn_data(const void *insn, void *to, size_t len);
size_t qemu_plugin_insn_size(const void *insn);
uint64_t qemu_plugin_insn_vaddr(const void *insn);
void *qemu_plugin_insn_haddr(const void *insn);

unsigned int qemu_plugin_mem_size_shift(qemu_plugin_meminfo_t info);
void *qemu_plugin_get_hwaddr(qemu_plugin_meminfo_t info, uint64_t va);
bool qemu_plugin_hwaddr_is_io(const void *hwaddr);
uint64_t qemu_plugin_hwaddr_phys_addr(const void *hwaddr);

GArray *qemu_plugin_get_registers(void);
int qemu_plugin_read_register(void *handle, GByteArray *to);

void *qemu_plugin_scoreboard_new(size_t size);
void qemu_plugin_u64_set(struct qemu_u64 entry, unsigned int vcpu, uint64_t value);
uint64_t qemu_plugin_u64_get(struct qemu_u64 entry, unsigned int vcpu);

#endif
