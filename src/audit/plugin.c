// SPDX-License-Identifier: MIT
/*
 * flushq-audit.so: feeds a shadow TLB per hart (shadow.h) with what a guest does under QEMU's TCG.
 *
 * What a callback sees: memory callbacks come behind the access, instruction callbacks before the
 * instruction. QEMU keys translated blocks by privilege (mstatus.MPRV counted in), so whether
 * an instruction's accesses are translated is known when it is translated. Page tables are read
 * where QEMU keeps the guest's RAM: in M mode, addresses are physical and
 * qemu_plugin_insn_haddr() says where the code lies in this process.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "plugin.h"

QEMU_EXPORT int qemu_plugin_version = QEMU_API;

#define MIN_REGION (1u << 22) /* smaller is a ROM */

#define PC_USER (1ULL << 60) /* in a callback's argument, beside the pc */
#define PC_ATOMIC (1ULL << 61)
#define PC_BITS 60

struct audit a = { .lock = PTHREAD_MUTEX_INITIALIZER };

static void cannot_locked(const char *why)
{
	if (!a.cannot[0])
		snprintf(a.cannot, sizeof(a.cannot), "%s", why);
	atomic_store(&a.s->stopped, a.cannot);
}

void cannot(const char *why)
{
	pthread_mutex_lock(&a.lock);
	cannot_locked(why);
	pthread_mutex_unlock(&a.lock);
}

uint64_t read_reg(void *handle)
{
	static __thread GByteArray *to;
	uint64_t value = 0;
	int n;

	if (!to)
		to = g_byte_array_new();
	g_byte_array_set_size(to, 0);
	n = handle ? qemu_plugin_read_register(handle, to) : 0;
	if (n <= 0) {
		cannot("this QEMU does not let a plugin read the registers that are needed");
		return 0;
	}
	memcpy(&value, to->data, n < 8 ? (size_t)n : 8);
	return value;
}

/* Guest memory */

static const void *host(void *arg, uint64_t pa)
{
	unsigned int n = atomic_load_explicit(&a.regions, memory_order_acquire);

	(void)arg;
	for (unsigned int i = 0; i < n; i++)
		if (pa - a.region[i].base < a.region[i].size)
			return a.region[i].host + (pa - a.region[i].base);
	return NULL;
}

static void find_region(uint64_t pa, char *at)
{
	FILE *maps;
	char line[512];

	pthread_mutex_lock(&a.lock);
	maps = !host(NULL, pa) && a.regions < MAX_REGIONS ? fopen("/proc/self/maps", "re") : NULL;
	while (maps && fgets(line, sizeof(line), maps)) {
		uintptr_t from, to;

		if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR, &from, &to) != 2 ||
		    (uintptr_t)at < from || (uintptr_t)at >= to)
			continue;
		if (to - from >= MIN_REGION && pa >= (uintptr_t)at - from) {
			unsigned int n = a.regions;

			a.region[n] = (struct region){
				.base = pa - ((uintptr_t)at - from),
				.size = to - from,
				.host = (char *)from,
			};
			/* Last: other harts look without the lock. */
			atomic_store_explicit(&a.regions, n + 1, memory_order_release);
		}
		break;
	}
	if (maps)
		fclose(maps);
	pthread_mutex_unlock(&a.lock);
}

static void paging_on(uint64_t satp)
{
	uint64_t root = (satp & 0xfffffffffffULL) << 12;

	pthread_mutex_lock(&a.lock);
	for (unsigned int i = 0; !a.paging && i < a.regions; i++)
		if (root - a.region[i].base < a.region[i].size &&
		    shadow_ram(a.s, a.region[i].base, a.region[i].size))
			a.paging = true;
	pthread_mutex_unlock(&a.lock);
	if (!a.paging && !a.s->stopped)
		cannot("where QEMU keeps the guest's RAM was not found");
}

/* Instructions */

/* A satp that was written takes effect before anything else this hart does. */
static void settle_satp(unsigned int hart)
{
	uint64_t satp;

	if (!own[hart].satp_written)
		return;
	own[hart].satp_written = false;
	if (rr.single && hart_asked() != hart)
		cannot("which hart runs could not be told; use -accel tcg,thread=multi");
	satp = read_reg(a.satp);
	if (satp >> 60 && (satp >> 60 < 8 || satp >> 60 > 10)) {
		cannot("this satp mode is none of Sv39, Sv48 and Sv57");
		return;
	}
	if (satp >> 60 && !a.paging)
		paging_on(satp);
	shadow_satp(a.s, hart, satp, own[hart].satp_pc);
}

static void on_satp(unsigned int vcpu, void *arg)
{
	unsigned int hart = hart_of(vcpu);

	settle_satp(hart);
	own[hart].satp_written = true;
	own[hart].satp_pc = (uintptr_t)arg;
	/* No line is good, and bare is not believed, until the new value is read. */
	a.s->hart[hart].ctx += 2;
}

#define FENCE_SINVAL (1u << 31)
#define FENCE_RS(code, n) ((code) >> (n)&31)

struct fence {
	uint64_t pc;
	uint32_t code;
};

static void on_fence(unsigned int vcpu, void *arg)
{
	const struct fence *f = arg;
	unsigned int hart = hart_of(vcpu), rs1 = FENCE_RS(f->code, 15), rs2 = FENCE_RS(f->code, 20);
	enum shadow_form form = rs1   ? (rs2 ? SHADOW_VA_ASID : SHADOW_VA)
				: rs2 ? SHADOW_ASID
				      : SHADOW_ALL;
	uint64_t va = rs1 ? read_reg(a.x[rs1]) : 0, asid = rs2 ? read_reg(a.x[rs2]) : 0;

	settle_satp(hart);
	if (f->code >> 25 == 0x0b)
		shadow_sinval(a.s, hart, form, va, asid, f->pc);
	else
		shadow_fence(a.s, hart, form, va, asid, f->pc);
}

static void on_w_inval(unsigned int vcpu, void *arg)
{
	shadow_w_inval(a.s, hart_of(vcpu), (uintptr_t)arg);
}

static void on_inval_ir(unsigned int vcpu, void *arg)
{
	unsigned int hart = hart_of(vcpu);

	settle_satp(hart);
	shadow_inval_ir(a.s, hart, (uintptr_t)arg);
}

static void on_wfi(unsigned int vcpu, void *arg)
{
	(void)arg;
	shadow_idle(a.s, hart_of(vcpu));
}

/* The trap handler looks at scause: what a TLB would have let pass may have faulted here. */
static void on_scause(unsigned int vcpu, void *arg)
{
	unsigned int hart = hart_of(vcpu), kind;
	uint64_t cause = read_reg(a.scause);

	(void)arg;
	settle_satp(hart);
	if (cause != 13 && cause != 15)
		return;
	kind = cause == 13 ? SHADOW_LOAD : SHADOW_STORE;
	if (!(read_reg(a.sstatus) >> 8 & 1))
		kind |= SHADOW_USER;
	shadow_fault(a.s, hart, read_reg(a.stval), kind, read_reg(a.sepc));
}

static void on_hypervisor(unsigned int vcpu, void *arg)
{
	(void)vcpu;
	(void)arg;
	a.hypervisor = true;
}

#define GUESTS "the guest runs guests of its own (hypervisor mode, V=1), which is not audited"

static void on_sret(unsigned int vcpu, void *arg)
{
	(void)arg;
	if (a.c.strict && !(read_reg(a.sstatus) >> 8 & 1))
		shadow_return(a.s, hart_of(vcpu));
	if (a.hypervisor && a.hstatus && read_reg(a.hstatus) >> 7 & 1)
		cannot(GUESTS);
}

static void on_mret(unsigned int vcpu, void *arg)
{
	uint64_t mstatus = read_reg(a.mstatus);

	(void)vcpu;
	(void)arg;
	if (mstatus >> 39 & 1 && (mstatus >> 11 & 3) != 3) /* MPV */
		cannot(GUESTS);
}

/* Where harts begin, they begin again: satp is 0 then though nobody wrote it. */
static void on_reset(unsigned int vcpu, void *arg)
{
	unsigned int hart = hart_of(vcpu);

	(void)arg;
	own[hart].satp_written = false;
	shadow_reset(a.s, hart);
}

static void on_guest_access(unsigned int vcpu, void *arg)
{
	(void)vcpu;
	(void)arg;
	cannot(GUESTS);
}

static void on_block(unsigned int vcpu, void *arg)
{
	(void)vcpu;
	if (!rr.learned)
		rr_learn();
	own[hart_of(vcpu)].insns += (uintptr_t)arg;
}

static uint64_t site_pc(void *arg)
{
	return (uint64_t)((int64_t)((uint64_t)(uintptr_t)arg << (64 - PC_BITS)) >> (64 - PC_BITS));
}

/* Does QEMU agree on where an address is? Races make it differ now and then. */
static void compare(unsigned int hart, qemu_plugin_meminfo_t info, uint64_t va)
{
	const void *hw = qemu_plugin_get_hwaddr(info, va);
	uint64_t pa;

	if (!hw || qemu_plugin_hwaddr_is_io(hw) || a.s->hart[hart].bare)
		return;
	own[hart].samples++;
	if (!shadow_translate(a.s, hart, va, &pa) || pa != qemu_plugin_hwaddr_phys_addr(hw))
		own[hart].wrong++;
	if (own[hart].wrong > 16 && own[hart].wrong > own[hart].samples / 2)
		cannot("QEMU's physical addresses are not those of the page tables found");
}

static inline void accessed(unsigned int vcpu, qemu_plugin_meminfo_t info, uint64_t va, void *arg,
			    unsigned int kind)
{
	unsigned int hart = hart_of(vcpu), size = 1;
	uint64_t flags = (uintptr_t)arg;

	if (own[hart].satp_written)
		settle_satp(hart);
	if (flags & PC_ATOMIC)
		kind |= SHADOW_LOAD;
	if (flags & PC_USER)
		kind |= SHADOW_USER;
	/* Of a store, the whole of it: it may write several PTEs. */
	if (kind & SHADOW_STORE || (va & 4095) > 4096 - 16)
		size = 1u << qemu_plugin_mem_size_shift(info);
	shadow_access(a.s, hart, va, size, kind, site_pc(arg));
	if (!(++own[hart].sample & 0x3fff))
		compare(hart, info, va);
}

static void on_load(unsigned int vcpu, qemu_plugin_meminfo_t info, uint64_t va, void *arg)
{
	accessed(vcpu, info, va, arg, SHADOW_LOAD);
}

static void on_store(unsigned int vcpu, qemu_plugin_meminfo_t info, uint64_t va, void *arg)
{
	accessed(vcpu, info, va, arg, SHADOW_STORE);
}

static void instrument(void *insn, unsigned int fetch_priv, unsigned int priv)
{
	uint64_t pc = qemu_plugin_insn_vaddr(insn), flags = 0;
	uint32_t code = 0, funct3, csr;
	void *site = (void *)(uintptr_t)pc;

	qemu_plugin_insn_data(insn, &code, sizeof(code));
	if (fetch_priv == 3 && pc == a.reset_pc)
		qemu_plugin_register_vcpu_insn_exec_cb(insn, on_reset, QEMU_R_REGS, NULL);
	if ((code & 127) == 0x2f && code >> 27 != 2)
		flags |= PC_ATOMIC;
	if (!priv)
		flags |= PC_USER;
	if (priv < 2) {
		void *arg = (void *)(uintptr_t)((pc & ((1ULL << PC_BITS) - 1)) | flags);

		/* An atomic is both, and comes once. */
		if (!(flags & PC_ATOMIC))
			qemu_plugin_register_vcpu_mem_cb(insn, on_load, QEMU_R_REGS, QEMU_MEM_R,
							 arg);
		qemu_plugin_register_vcpu_mem_cb(insn, on_store, QEMU_R_REGS, QEMU_MEM_W, arg);
	} else if (!rr.single) {
		qemu_plugin_register_vcpu_mem_inline_per_vcpu(insn, QEMU_MEM_RW, QEMU_INLINE_ADD,
							      a.machine, 1);
	}
	if ((code & 127) != 0x73 || !fetch_priv)
		return;
	funct3 = code >> 12 & 7;
	csr = code >> 20;
	if (funct3 == 4) {
		if (code >> 28 != 6) /* not hlv, hsv: of Zimop */
			return;
		qemu_plugin_register_vcpu_insn_exec_cb(insn, on_guest_access, QEMU_NO_REGS, NULL);
	} else if (funct3) {
		bool writes = (funct3 & 3) == 1 || (code >> 15 & 31);

		if (csr == 0x180 && writes)
			qemu_plugin_register_vcpu_insn_exec_cb(insn, on_satp, QEMU_R_REGS, site);
		if (csr == 0x142 && fetch_priv == 1)
			qemu_plugin_register_vcpu_insn_exec_cb(insn, on_scause, QEMU_R_REGS, NULL);
		if ((csr == 0x600 || csr == 0x680 || csr == 0x280) && writes)
			qemu_plugin_register_vcpu_insn_exec_cb(insn, on_hypervisor, QEMU_NO_REGS,
							       NULL);
	} else if (code >> 25 == 0x09 || code >> 25 == 0x0b) {
		struct fence *f = malloc(sizeof(*f)); /* as long as the block: for ever */

		if (!f) {
			cannot("out of memory");
			return;
		}
		*f = (struct fence){ .pc = pc, .code = code };
		qemu_plugin_register_vcpu_insn_exec_cb(insn, on_fence, QEMU_R_REGS, f);
	} else if (code == 0x18000073) {
		qemu_plugin_register_vcpu_insn_exec_cb(insn, on_w_inval, QEMU_NO_REGS, site);
	} else if (code == 0x18100073) {
		qemu_plugin_register_vcpu_insn_exec_cb(insn, on_inval_ir, QEMU_R_REGS, site);
	} else if (code == 0x10500073) {
		qemu_plugin_register_vcpu_insn_exec_cb(insn, on_wfi, QEMU_NO_REGS, NULL);
	} else if (code == 0x30200073) {
		qemu_plugin_register_vcpu_insn_exec_cb(insn, on_mret, QEMU_R_REGS, NULL);
	} else if (code == 0x10200073) {
		qemu_plugin_register_vcpu_insn_exec_cb(insn, on_sret, QEMU_R_REGS, NULL);
	}
}

static void on_translate(qemu_plugin_id_t id, void *tb)
{
	size_t n = qemu_plugin_tb_n_insns(tb);
	unsigned int fetch_priv = read_reg(a.priv) & 3, priv = fetch_priv;

	(void)id;
	rr.translated = true;
	if (priv == 3) {
		void *insn = qemu_plugin_tb_get_insn(tb, 0);
		uint64_t pc = qemu_plugin_insn_vaddr(insn), mstatus;
		char *at = qemu_plugin_insn_haddr(insn);

		if (!atomic_load(&a.reset_known)) {
			a.reset_pc = pc;
			atomic_store(&a.reset_known, true);
		}
		if (at && !host(NULL, pc))
			find_region(pc, at);
		mstatus = read_reg(a.mstatus);
		if (mstatus >> 17 & 1)
			priv = mstatus >> 11 & 3;
	}
	if (rr.single)
		qemu_plugin_register_vcpu_tb_exec_cb(tb, on_block, QEMU_R_REGS, (void *)n);
	else
		qemu_plugin_register_vcpu_tb_exec_inline_per_vcpu(tb, QEMU_INLINE_ADD, a.insns, n);
	for (size_t i = 0; i < n; i++)
		instrument(qemu_plugin_tb_get_insn(tb, i), fetch_priv, priv);
}

static void on_vcpu(qemu_plugin_id_t id, unsigned int vcpu)
{
	static const struct {
		const char *name;
		void **to;
	} named[] = {
		{ "satp", &a.satp },	   { "priv", &a.priv },	     { "mstatus", &a.mstatus },
		{ "sstatus", &a.sstatus }, { "scause", &a.scause },  { "stval", &a.stval },
		{ "sepc", &a.sepc },	   { "mhartid", &a.hartid }, { "hstatus", &a.hstatus },
		{ "misa", &a.misa },
	};
	GArray *regs;
	unsigned int x = 0;

	(void)id;
	pthread_mutex_lock(&a.lock);
	if (rr.thread_known && vcpu && pthread_equal(rr.thread, pthread_self()))
		rr.single = true;
	if (rr.single && rr.translated)
		cannot_locked("QEMU began to run before its CPUs were there");
	rr.thread = pthread_self();
	rr.thread_known = true;
	if (!a.satp) {
		regs = qemu_plugin_get_registers();
		for (unsigned int i = 0; i < regs->len; i++) {
			const struct qemu_reg *r = (struct qemu_reg *)(void *)regs->data + i;

			if (r->feature && !strcmp(r->feature, "org.gnu.gdb.riscv.cpu") && x < 32)
				a.x[x++] = r->handle;
			for (size_t k = 0; k < sizeof(named) / sizeof(*named); k++)
				if (!strcmp(r->name, named[k].name))
					*named[k].to = r->handle;
		}
		g_array_free(regs, 1);
	}
	pthread_mutex_unlock(&a.lock);
	if (!(read_reg(a.misa) >> 62)) { /* -cpu rv32; nothing has run yet */
		cannot("rv32 (Sv32) is not audited");
		finish();
		_exit(2);
	}
}

static void on_quit(qemu_plugin_id_t id, void *arg)
{
	(void)id;
	(void)arg;
	finish();
}

/* Options */

static bool number(const char *text, uint64_t low, uint64_t high, uint64_t *to)
{
	char *end;

	*to = strtoull(text, &end, 10);
	return text[0] >= '0' && text[0] <= '9' && !*end && *to >= low && *to <= high;
}

/* SETSxWAYS[:SETSxWAYS...] */
static bool geometry(char *text)
{
	char *rest = NULL;

	if (!strcmp(text, "infinite"))
		return true;
	for (char *one = strtok_r(text, ":", &rest); one; one = strtok_r(NULL, ":", &rest)) {
		unsigned int sets, ways, n = a.c.tlbs;
		int end = 0;

		if (n == SHADOW_TLBS || sscanf(one, "%5ux%5u%n", &sets, &ways, &end) != 2 ||
		    one[end] || !sets || !ways || sets > 65536 || ways > 1024)
			return false;
		a.c.sets[n] = sets;
		a.c.ways[n] = ways;
		a.c.tlbs++;
	}
	return a.c.tlbs;
}

static bool option(char *text)
{
	char *value = strchr(text, '=');
	uint64_t n;

	if (!value)
		return false;
	*value++ = 0;
	if (!strcmp(text, "json"))
		a.json = value;
	else if (!strcmp(text, "status"))
		a.status = value;
	else if (!strcmp(text, "symbols"))
		a.symbols = value;
	else if (!strcmp(text, "tlb"))
		return geometry(value);
	else if (!strcmp(text, "stop-at-first"))
		a.stop_at_first = !strcmp(value, "on");
	else if (!strcmp(text, "strict"))
		a.c.strict = !strcmp(value, "on");
	else if (!strcmp(text, "grace") && number(value, 1, 1ULL << 40, &n))
		a.c.grace = n;
	else if (!strcmp(text, "forget") && number(value, 0, 1ULL << 40, &n))
		a.c.forget = n;
	else if (!strcmp(text, "memory") && number(value, 1, 1 << 20, &n))
		a.c.memory = n << 20;
	else
		return false;
	return true;
}

/* Not to be run at all; tools/audit says why. */
static int refuse(const char *why, ...)
{
	FILE *to = a.status ? fopen(a.status, "we") : NULL;
	va_list args;

	va_start(args, why);
	fputs(to ? "cannot " : "flushq-audit: ", to ? to : stderr);
	vfprintf(to ? to : stderr, why, args);
	fputc('\n', to ? to : stderr);
	if (to)
		fclose(to);
	va_end(args);
	return -1;
}

QEMU_EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const struct qemu_info *info, int argc,
				    char **argv)
{
	a.c = (struct shadow_config){
		.grace = 5000000,
		.memory = 1ULL << 30,
		.host = host,
		.insns = insns,
		.report = on_finding,
	};
	for (int i = 0; i < argc; i++)
		if (!option(argv[i]))
			return refuse("cannot read the option '%s'", argv[i]);
	if (!info->system_emulation || strcmp(info->target_name, "riscv64"))
		return refuse("this QEMU is of %s; only qemu-system-riscv64 can be audited",
			      info->target_name);
	a.harts = (unsigned int)info->system.max_vcpus;
	if (a.harts > MAX_HARTS)
		return refuse("%u harts are more than %u", a.harts, MAX_HARTS);
	a.c.harts = a.harts;
	/* One CPU runs as several on one thread do: QEMU 10.0 gets its inline counters wrong there. */
	rr.single = rr.learned = a.harts == 1;
	a.insns.score = qemu_plugin_scoreboard_new(2 * sizeof(uint64_t));
	a.machine.score = a.insns.score;
	a.machine.offset = sizeof(uint64_t);
	a.s = shadow_new(&a.c);
	if (!a.s || !report_init())
		return refuse("out of memory for the shadow");
	qemu_plugin_register_vcpu_init_cb(id, on_vcpu);
	qemu_plugin_register_vcpu_tb_trans_cb(id, on_translate);
	qemu_plugin_register_atexit_cb(id, on_quit, NULL);
	return 0;
}
