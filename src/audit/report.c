// SPDX-License-Identifier: MIT
/* What is said: findings with symbols, counts, JSON, the verdict for tools/audit. */
#define _GNU_SOURCE
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "plugin.h"

#define MAX_KEPT 1000 /* findings written out */
#define MAX_SAID 20

struct symbol {
	uint64_t addr;
	char *name;
};

static struct {
	bool over; /* the results are out */
	pthread_mutex_t lock; /* of all here */
	struct symbol *sym;
	size_t syms;
	char *kept; /* findings, as JSON */
	size_t kept_len;
	FILE *kept_file;
	unsigned int n_kept;
} out = { .lock = PTHREAD_MUTEX_INITIALIZER };

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
		if (!(out.syms & (out.syms + 1023) & 1023)) {
			void *more = realloc(out.sym, (out.syms + 1024) * sizeof(*out.sym));

			if (!more)
				break;
			out.sym = more;
		}
		out.sym[out.syms].addr = addr;
		for (char *c = name; *c; c++)
			if (*c == '"' || *c == '\\') /* it will stand in JSON */
				*c = '?';
		out.sym[out.syms].name = strdup(name);
		out.syms += out.sym[out.syms].name != NULL;
	}
	if (f)
		fclose(f);
	qsort(out.sym, out.syms, sizeof(*out.sym), by_address);
}

bool report_init(void)
{
	out.kept_file = open_memstream(&out.kept, &out.kept_len);
	load_symbols();
	return out.kept_file;
}

static const char *symbol(uint64_t pc, char *to, size_t size)
{
	size_t low = 0, high = out.syms;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (out.sym[mid].addr <= pc)
			low = mid + 1;
		else
			high = mid;
	}
	if (!low || pc - out.sym[low - 1].addr > 0x10000)
		snprintf(to, size, "0x%" PRIx64, pc);
	else
		snprintf(to, size, "0x%" PRIx64 " (%s+0x%" PRIx64 ")", pc, out.sym[low - 1].name,
			 pc - out.sym[low - 1].addr);
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

static void results(void);

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
		out.n_kept ? "," : "", what_name[f->what], f->hart, f->asid, f->va,
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

void on_finding(void *arg, const struct shadow_finding *f)
{
	(void)arg;
	pthread_mutex_lock(&out.lock);
	if (out.n_kept < MAX_KEPT && !out.over) {
		if (out.n_kept < MAX_SAID)
			describe(stderr, f);
		else if (out.n_kept == MAX_SAID)
			fputs("flushq-audit: more findings are counted, and listed with --json only\n",
			      stderr);
		json_finding(out.kept_file, f);
		out.n_kept++;
	}
	if (a.stop_at_first && !out.over) {
		results();
		_exit(1); /* with the lock: whoever else wants to end it waits for this */
	}
	pthread_mutex_unlock(&out.lock);
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

static bool write_json(const char *verdict, const char *why, uint64_t findings)
{
	FILE *to = fopen(a.json, "we");
	bool bad;

	if (!to)
		return false;
	fprintf(to, "{\n  \"verdict\": \"%s\",\n", verdict);
	if (why)
		fprintf(to, "  \"why\": \"%s\",\n", why);
	fprintf(to,
		"  \"stale\": %" PRIu64 ",\n  \"grace\": %" PRIu64
		",\n  \"harts\": %u,\n  \"total\": {",
		findings, a.c.grace, a.harts);
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
	fflush(out.kept_file);
	fwrite(out.kept, 1, out.kept_len, to);
	fputs(out.n_kept ? "\n  ]\n}\n" : "]\n}\n", to);
	bad = ferror(to) || ferror(out.kept_file);
	return !fclose(to) && !bad;
}

static void results(void)
{
	uint64_t findings = 0, machine = 0;
	const char *why = atomic_load(&a.s->stopped), *verdict;
	FILE *to;

	out.over = true;
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
	if (a.json && !write_json(verdict, why, findings)) {
		verdict = "cannot";
		why = "the results could not be written to the file of --json";
	}
	to = a.status ? fopen(a.status, "we") : NULL;
	if (to) {
		fprintf(to, "%s%s%s\n", verdict, why ? " " : "", why ? why : "");
		fclose(to);
	} else if (why) {
		fprintf(stderr, "flushq-audit: %s\n", why);
	}
}

void finish(void)
{
	pthread_mutex_lock(&out.lock);
	if (!out.over)
		results();
	pthread_mutex_unlock(&out.lock);
}
