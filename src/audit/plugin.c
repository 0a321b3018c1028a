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
#define _GNU_SOURCE
#include <inttypes.h>
#include <link.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "qemu.h"
#include "shadow.h"

QEMU_EXPORT int qemu_plugin_version = QEMU_API;

#define MAX_HARTS 512
#define MAX_REGIONS 8
#define MIN_REGION (1u << 22) /* smaller is a ROM */
#define MAX_KEPT 1000 /* findings written out */

#define PC_USER (1ULL << 60) /* in a callback's argument, beside the pc */
#define PC_ATOMIC (1ULL << 61)
#define PC_BITS 60

struct region {
	uint64_t base, size;
	char *host;
};

struct symbol {
	uint64_t addr;
	char *name;
};

static struct {
	struct shadow *s;
	struct shadow_config c;
	unsigned int harts;
	const char *json, *status, *symbols;
	bool stop_at_first, paging, hypervisor;
	bool over; /* the results are out */
	struct region region[MAX_REGIONS];
	_Atomic unsigned int regions;
	void *x[32];
	void *satp, *priv, *mstatus, *hstatus, *sstatus, *scause, *stval, *sepc, *hartid;
	struct qemu_u64 insns, machine;
	pthread_mutex_t lock;
	struct symbol *sym;
	size_t syms;
	char *kept; /* findings, as JSON */
	size_t kept_len;
	FILE *kept_file;
	unsigned int n_kept;
	char cannot[256];
} a = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* Private to a hart, and written often. */
static struct own {
	bool satp_written;
	uint64_t satp_pc;
	uint64_t insns; /* under thread=single */
	unsigned int sample, samples, wrong;
} __attribute__((aligned(128))) own[MAX_HARTS];

static void finish(void);

static void cannot(const char *why)
{
	pthread_mutex_lock(&a.lock);
	if (!a.cannot[0])
		snprintf(a.cannot, sizeof(a.cannot), "%s", why);
	pthread_mutex_unlock(&a.lock);
	atomic_store(&a.s->stopped, a.cannot);
}

static uint64_t read_reg(void *handle)
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

/*
 * Which hart is it? Under thread=multi a thread is a hart, and QEMU says which. Under thread=single
 * (and -icount) it says which hart the block was first translated for: blocks are shared. There the
 * answer is looked for in QEMU's thread-local memory: a word that was always the same for one
 * hart and never for two (it is the pointer to the running CPU). Until that word is found,
 * and again at each write of satp, the slow truth is asked: mhartid.
 */
static struct {
	bool single, learned, translated;
	pthread_t thread;
	bool thread_known;
	uintptr_t *tls;
	size_t words, chosen;
	uintptr_t *seen; /* [word][hart] */
	bool *dropped;
	unsigned int *count; /* observations by hart */
	unsigned int hart, switches, observed;
	uintptr_t last;
	uintptr_t of[MAX_HARTS];
} rr;

static int main_tls(struct dl_phdr_info *info, size_t size, void *arg)
{
	(void)size;
	(void)arg;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		if (info->dlpi_phdr[i].p_type == PT_TLS && info->dlpi_tls_data) {
			rr.tls = info->dlpi_tls_data;
			rr.words = info->dlpi_phdr[i].p_memsz / sizeof(uintptr_t);
		}
	}
	return 1; /* the first is the program itself */
}

static unsigned int hart_asked(void)
{
	uint64_t hart = read_reg(a.hartid);

	if (hart < a.harts)
		return (unsigned int)hart;
	cannot("hart ids are not 0 to N-1 on this machine");
	return 0;
}

static void rr_learn(void)
{
	unsigned int hart = hart_asked();
	bool enough = true;

	if (!rr.tls) {
		dl_iterate_phdr(main_tls, NULL);
		rr.seen = calloc(rr.words * a.harts + 1, sizeof(*rr.seen));
		rr.dropped = calloc(rr.words + 1, sizeof(*rr.dropped));
		rr.count = calloc(a.harts, sizeof(*rr.count));
		if (!rr.tls || !rr.seen || !rr.dropped || !rr.count) {
			cannot("which hart runs cannot be told here under -icount or thread=single");
			return;
		}
	}
	rr.switches += rr.observed++ && rr.hart != hart;
	rr.hart = hart;
	if (++rr.count[hart] > 64 && rr.count[hart] & 255)
		return;
	for (size_t i = 0; i < rr.words; i++) {
		uintptr_t *seen = &rr.seen[i * a.harts], v = rr.tls[i];

		if (rr.dropped[i] || !v || (seen[hart] && seen[hart] != v)) {
			rr.dropped[i] = true;
			continue;
		}
		seen[hart] = v;
		for (unsigned int k = 0; k < a.harts; k++)
			rr.dropped[i] |= k != hart && seen[k] == v;
	}
	for (unsigned int k = 0; k < a.harts; k++)
		enough &= rr.count[k] >= 8;
	if (!enough || rr.switches < 2 * a.harts)
		return;
	for (size_t i = 0; i < rr.words; i++) {
		if (rr.dropped[i])
			continue;
		rr.chosen = i;
		memcpy(rr.of, &rr.seen[i * a.harts], a.harts * sizeof(*rr.of));
		rr.last = rr.of[hart];
		rr.learned = true;
		return;
	}
	cannot("which hart runs cannot be told here under -icount or thread=single; use "
	       "-accel tcg,thread=multi");
}

static inline unsigned int hart_of(unsigned int vcpu)
{
	uintptr_t v;

	if (!rr.single || a.harts == 1)
		return vcpu;
	if (!rr.learned)
		return rr.hart;
	v = ((volatile uintptr_t *)rr.tls)[rr.chosen];
	if (v == rr.last)
		return rr.hart;
	for (unsigned int k = 0; k < a.harts; k++) {
		if (rr.of[k] == v) {
			rr.last = v;
			rr.hart = k;
			return k;
		}
	}
	rr.hart = hart_asked();
	return rr.hart;
}

static uint64_t insns(void *arg, unsigned int hart)
{
	(void)arg;
	return rr.single ? own[hart].insns : qemu_plugin_u64_get(a.insns, hart);
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
		if (to - from >= MIN_REGION && pa >= (uintptr_t)at - from)
			a.region[a.regions++] = (struct region){
				.base = pa - ((uintptr_t)at - from),
				.size = to - from,
				.host = (char *)from,
			};
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
	if (!a.paging)
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
	};
	GArray *regs;
	unsigned int x = 0;

	(void)id;
	pthread_mutex_lock(&a.lock);
	if (rr.thread_known && vcpu && pthread_equal(rr.thread, pthread_self()))
		rr.single = true;
	if (rr.single && rr.translated)
		snprintf(a.cannot, sizeof(a.cannot),
			 "QEMU began to run before its CPUs were there");
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
}

/* Symbols: lines "ADDRESS TYPE NAME", as of nm and System.map */

static int by_address(const void *x, const void *y)
{
	const struct symbol *l = x, *r = y;

	return l->addr < r->addr ? -1 : l->addr > r->addr;
}

static void load_symbols(void)
{
	FILE *f = a.symbols ? fopen(a.symbols, "re") : NULL;
	char line[1024], name[512], type;
	uint64_t addr;

	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%" SCNx64 " %c %511s", &addr, &type, name) != 3 ||
		    !strchr("tTwW", type) || name[0] == '$')
			continue;
		if (!(a.syms & (a.syms + 1023) & 1023)) {
			void *more = realloc(a.sym, (a.syms + 1024) * sizeof(*a.sym));

			if (!more)
				break;
			a.sym = more;
		}
		a.sym[a.syms].addr = addr;
		a.sym[a.syms].name = strdup(name);
		a.syms += a.sym[a.syms].name != NULL;
	}
	if (f)
		fclose(f);
	qsort(a.sym, a.syms, sizeof(*a.sym), by_address);
}

static const char *symbol(uint64_t pc, char *to, size_t size)
{
	size_t low = 0, high = a.syms;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (a.sym[mid].addr <= pc)
			low = mid + 1;
		else
			high = mid;
	}
	if (!low || pc - a.sym[low - 1].addr > 0x10000)
		snprintf(to, size, "0x%" PRIx64, pc);
	else
		snprintf(to, size, "0x%" PRIx64 " (%s+0x%" PRIx64 ")", pc, a.sym[low - 1].name,
			 pc - a.sym[low - 1].addr);
	return to;
}

/* Results */

static const char *const what_name[SHADOW_WHATS] = {
	"moved", "unmapped", "permission", "table", "bracket",
};
static const char *const form_name[SHADOW_FORMS] = { "all", "asid", "va", "va_asid" };

static const char *kind_name(unsigned int kind)
{
	switch (kind & (SHADOW_LOAD | SHADOW_STORE)) {
	case SHADOW_LOAD:
		return "load";
	case SHADOW_STORE:
		return "store";
	default:
		return "atomic";
	}
}

static void describe(FILE *to, const struct shadow_finding *f)
{
	char buf[640];

	if (f->what == SHADOW_BRACKET) {
		fprintf(to,
			"flushq-audit: sinval.vma outside sfence.w.inval ... sfence.inval.ir: hart %u, "
			"address 0x%" PRIx64 ", ASID %u\n  pc %s\n",
			f->hart, f->va, f->asid, symbol(f->pc, buf, sizeof(buf)));
		return;
	}
	fprintf(to,
		"flushq-audit: stale translation (%s): hart %u, ASID %u%s, %s of 0x%" PRIx64
		" at %s%s\n",
		what_name[f->what], f->hart, f->asid, f->global ? " (global)" : "",
		kind_name(f->kind), f->va, f->kind & SHADOW_USER ? "U" : "S",
		f->faulted ? ", which faulted here and need not elsewhere" : "");
	fprintf(to, "  pc %s\n", symbol(f->pc, buf, sizeof(buf)));
	fprintf(to,
		"  cached: %s 0x%" PRIx64 " (PTE 0x%" PRIx64 "), since %" PRIu64
		" instructions, by pc %s\n",
		f->what == SHADOW_TABLE ? "table" : "frame", f->frame_cached, f->pte_cached,
		f->cached_ago, symbol(f->cached_pc, buf, sizeof(buf)));
	if (f->frame_now)
		fprintf(to, "  now:    %s 0x%" PRIx64 " (PTE 0x%" PRIx64 ")\n",
			f->what == SHADOW_TABLE ? "table" : "frame", f->frame_now, f->pte_now);
	else
		fprintf(to, "  now:    not mapped (PTE 0x%" PRIx64 ")\n", f->pte_now);
	if (f->changed_known)
		fprintf(to, "  changed by hart %u, ASID %u there, pc %s\n", f->changed.hart,
			f->changed.asid, symbol(f->changed.pc, buf, sizeof(buf)));
	if (f->root_changed)
		fputs("  the ASID belonged to other page tables then\n", to);
	fputs("  ASIDs loaded then:", to);
	for (unsigned int i = 0; i < f->harts; i++)
		fprintf(to, f->who[i] < 0 ? " hart %u none" : " hart %u %d", i, f->who[i]);
	fputc('\n', to);
	for (unsigned int i = 0; i < f->fences; i++) {
		const struct shadow_fence_log *l = &f->fence[i];

		fprintf(to, "  fence (%s%s", l->sinval ? "sinval " : "", form_name[l->form]);
		if (l->form >= SHADOW_VA)
			fprintf(to, " 0x%" PRIx64, l->va);
		if (l->form == SHADOW_ASID || l->form == SHADOW_VA_ASID)
			fprintf(to, " asid %u", l->asid);
		fprintf(to, ") %" PRIu64 " instructions ago, pc %s\n", f->fence_ago[i],
			symbol(l->pc, buf, sizeof(buf)));
	}
	if (!f->fences)
		fputs("  no fence of this page, its ASID or everything on this hart is remembered\n",
		      to);
}

static void json_finding(FILE *to, const struct shadow_finding *f)
{
	char buf[640];

	fprintf(to,
		"%s\n    {\"what\": \"%s\", \"hart\": %u, \"asid\": %u, \"va\": \"0x%" PRIx64
		"\", \"pc\": \"%s\"",
		a.n_kept ? "," : "", what_name[f->what], f->hart, f->asid, f->va,
		symbol(f->pc, buf, sizeof(buf)));
	if (f->what != SHADOW_BRACKET) {
		fprintf(to,
			", \"access\": \"%s\", \"mode\": \"%s\", \"faulted\": %s, \"global\": %s, "
			"\"level\": %u, \"cached\": \"0x%" PRIx64 "\", \"now\": \"0x%" PRIx64
			"\", \"pte_cached\": \"0x%" PRIx64 "\", \"pte_now\": \"0x%" PRIx64
			"\", \"cached_instructions_ago\": %" PRIu64 ", \"cached_pc\": \"%s\"",
			kind_name(f->kind), f->kind & SHADOW_USER ? "U" : "S",
			f->faulted ? "true" : "false", f->global ? "true" : "false", f->level,
			f->frame_cached, f->frame_now, f->pte_cached, f->pte_now, f->cached_ago,
			symbol(f->cached_pc, buf, sizeof(buf)));
		if (f->changed_known)
			fprintf(to,
				", \"changed_by_hart\": %u, \"changed_in_asid\": %u, "
				"\"changed_pc\": \"%s\"",
				f->changed.hart, f->changed.asid,
				symbol(f->changed.pc, buf, sizeof(buf)));
		fputs(", \"asids_loaded\": [", to);
		for (unsigned int i = 0; i < f->harts; i++)
			fprintf(to, "%s%d", i ? ", " : "", f->who[i]);
		fputs("], \"fences\": [", to);
		for (unsigned int i = 0; i < f->fences; i++)
			fprintf(to,
				"%s{\"form\": \"%s\", \"va\": \"0x%" PRIx64 "\", \"asid\": %u, "
				"\"instructions_ago\": %" PRIu64 ", \"pc\": \"%s\"}",
				i ? ", " : "", form_name[f->fence[i].form], f->fence[i].va,
				f->fence[i].asid, f->fence_ago[i],
				symbol(f->fence[i].pc, buf, sizeof(buf)));
		fputc(']', to);
	}
	fputc('}', to);
}

static void on_finding(void *arg, const struct shadow_finding *f)
{
	(void)arg;
	if (a.n_kept < MAX_KEPT && a.kept_file) {
		if (a.n_kept < 20)
			describe(stderr, f);
		else if (a.n_kept == 20)
			fputs("flushq-audit: more findings are counted, and listed with --json only\n",
			      stderr);
		json_finding(a.kept_file, f);
		a.n_kept++;
	}
	if (a.stop_at_first) {
		finish();
		_exit(1);
	}
}

struct field {
	const char *name;
	size_t at;
};

#define FIELD(name)                                                                                \
	{                                                                                          \
#name, offsetof(struct shadow_counts, name)                                        \
	}

static const struct field fields[] = {
	FIELD(loads),
	FIELD(stores),
	FIELD(atomics),
	FIELD(device),
	FIELD(bare),
	FIELD(cold),
	FIELD(needed),
	FIELD(refills),
	FIELD(capacity),
	FIELD(window),
	FIELD(settled),
	FIELD(settle_longest),
	FIELD(satp),
	FIELD(faults),
	FIELD(tlb_misses),
	{ "fence_all", offsetof(struct shadow_counts, fence[SHADOW_ALL]) },
	{ "fence_asid", offsetof(struct shadow_counts, fence[SHADOW_ASID]) },
	{ "fence_va", offsetof(struct shadow_counts, fence[SHADOW_VA]) },
	{ "fence_va_asid", offsetof(struct shadow_counts, fence[SHADOW_VA_ASID]) },
	{ "sinval_all", offsetof(struct shadow_counts, sinval[SHADOW_ALL]) },
	{ "sinval_asid", offsetof(struct shadow_counts, sinval[SHADOW_ASID]) },
	{ "sinval_va", offsetof(struct shadow_counts, sinval[SHADOW_VA]) },
	{ "sinval_va_asid", offsetof(struct shadow_counts, sinval[SHADOW_VA_ASID]) },
};

static uint64_t field(unsigned int hart, const struct field *f)
{
	uint64_t value;

	memcpy(&value, (char *)&a.s->hart[hart].n + f->at, sizeof(value));
	return value;
}

static uint64_t total(const char *name)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < sizeof(fields) / sizeof(*fields); i++) {
		if (strcmp(fields[i].name, name))
			continue;
		for (unsigned int k = 0; k < a.harts; k++) {
			uint64_t v = field(k, &fields[i]);

			if (strcmp(name, "settle_longest"))
				sum += v;
			else if (v > sum)
				sum = v;
		}
	}
	return sum;
}

static void write_json(FILE *to, const char *verdict, uint64_t findings)
{
	fprintf(to,
		"{\n  \"verdict\": \"%s\",\n  \"stale\": %" PRIu64 ",\n  \"grace\": %" PRIu64
		",\n  \"harts\": %u,\n  \"total\": {",
		verdict, findings, a.c.grace, a.harts);
	for (size_t i = 0; i < sizeof(fields) / sizeof(*fields); i++)
		fprintf(to, "%s\"%s\": %" PRIu64, i ? ", " : "", fields[i].name,
			total(fields[i].name));
	fputs("},\n  \"by_hart\": [", to);
	for (unsigned int k = 0; k < a.harts; k++) {
		fprintf(to, "%s\n    {\"instructions\": %" PRIu64, k ? "," : "", insns(NULL, k));
		for (size_t i = 0; i < sizeof(fields) / sizeof(*fields); i++)
			fprintf(to, ", \"%s\": %" PRIu64, fields[i].name, field(k, &fields[i]));
		for (unsigned int l = 0; l < a.c.tlbs; l++)
			fprintf(to, ", \"tlb%u_hits\": %" PRIu64, l, a.s->hart[k].n.tlb_hits[l]);
		fputc('}', to);
	}
	fputs("\n  ],\n  \"findings\": [", to);
	fflush(a.kept_file);
	fwrite(a.kept, 1, a.kept_len, to);
	fputs(a.n_kept ? "\n  ]\n}\n" : "]\n}\n", to);
}

static void finish(void)
{
	uint64_t findings = 0, machine = 0;
	const char *why = atomic_load(&a.s->stopped), *verdict;
	FILE *to;

	if (a.over)
		return;
	a.over = true;
	for (unsigned int i = 0; i < SHADOW_WHATS; i++)
		findings += a.s->findings[i];
	for (unsigned int k = 0; k < a.harts; k++)
		machine += rr.single ? 0 : qemu_plugin_u64_get(a.machine, k);
	if (!why && !a.paging)
		why = "the guest never turned paging on, so there was nothing to audit";
	verdict = why ? "cannot" : findings ? "findings" : "clean";
	fprintf(stderr,
		"flushq-audit: audit_stale=%" PRIu64 " audit_accesses=%" PRIu64
		" audit_refills=%" PRIu64 " audit_needed=%" PRIu64 " audit_cold=%" PRIu64
		" audit_capacity=%" PRIu64 " audit_window=%" PRIu64 " audit_settle_longest=%" PRIu64
		" audit_fences=%" PRIu64 " audit_satp=%" PRIu64 " audit_faults=%" PRIu64
		" audit_untranslated=%" PRIu64 " audit_epochs=%" PRIu64 "\n",
		findings, total("loads") + total("stores") + total("atomics"), total("refills"),
		total("needed"), total("cold"), total("capacity"), total("window"),
		total("settle_longest"),
		total("fence_all") + total("fence_asid") + total("fence_va") +
			total("fence_va_asid") + total("sinval_all") + total("sinval_asid") +
			total("sinval_va") + total("sinval_va_asid"),
		total("satp"), total("faults"), total("bare") + machine,
		(uint64_t)atomic_load(&a.s->epoch));
	if (a.json) {
		to = fopen(a.json, "we");
		if (to) {
			write_json(to, verdict, findings);
			fclose(to);
		}
	}
	to = a.status ? fopen(a.status, "we") : NULL;
	if (to) {
		fprintf(to, "%s%s%s\n", verdict, why ? " " : "", why ? why : "");
		fclose(to);
	} else if (why) {
		fprintf(stderr, "flushq-audit: %s\n", why);
	}
}

static void on_quit(qemu_plugin_id_t id, void *arg)
{
	(void)id;
	(void)arg;
	finish();
}

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

QEMU_EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const struct qemu_info *info, int argc,
				    char **argv)
{
	if (!info->system_emulation || strcmp(info->target_name, "riscv64")) {
		fprintf(stderr,
			"flushq-audit: this is %s; only qemu-system-riscv64 can be audited\n",
			info->target_name);
		return -1;
	}
	a.harts = (unsigned int)info->system.max_vcpus;
	if (a.harts > MAX_HARTS) {
		fprintf(stderr, "flushq-audit: %u harts are more than %u\n", a.harts, MAX_HARTS);
		return -1;
	}
	a.c = (struct shadow_config){
		.harts = a.harts,
		.grace = 5000000,
		.memory = 1ULL << 30,
		.host = host,
		.insns = insns,
		.report = on_finding,
	};
	for (int i = 0; i < argc; i++) {
		if (!option(argv[i])) {
			fprintf(stderr, "flushq-audit: cannot read the option '%s'\n", argv[i]);
			return -1;
		}
	}
	a.kept_file = open_memstream(&a.kept, &a.kept_len);
	/* One CPU runs as several on one thread do: QEMU 10.0 gets its inline counters wrong there. */
	rr.single = rr.learned = a.harts == 1;
	a.insns.score = qemu_plugin_scoreboard_new(2 * sizeof(uint64_t));
	a.machine.score = a.insns.score;
	a.machine.offset = sizeof(uint64_t);
	a.s = shadow_new(&a.c);
	if (!a.s || !a.kept_file) {
		fputs("flushq-audit: out of memory\n", stderr);
		return -1;
	}
	load_symbols();
	qemu_plugin_register_vcpu_init_cb(id, on_vcpu);
	qemu_plugin_register_vcpu_tb_trans_cb(id, on_translate);
	qemu_plugin_register_atexit_cb(id, on_quit, NULL);
	return 0;
}
