/* SPDX-License-Identifier: MIT */
/* The command line: /chosen/bootargs of the flattened device tree. */
#include "policy.h"

struct options options = {
	.policy = "flushq", .ipi = "own", .seed = 1, .work = 10, .asid_bits = 16
};

bool same(const char *a, const char *b)
{
	while (*a && *a == *b) {
		a++;
		b++;
	}
	return *a == *b;
}

static uint32_t be32(const void *p)
{
	const unsigned char *b = p;

	return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

static const char *find_bootargs(const void *fdt)
{
	const unsigned char *base = fdt, *p;
	const char *strings, *name;
	unsigned int depth = 0, len;
	bool chosen = false;

	if (be32(base) != 0xd00dfeed)
		return NULL;
	p = base + be32(base + 8);
	strings = (const char *)base + be32(base + 12);
	for (;;) {
		uint32_t token = be32(p);

		p += 4;
		switch (token) {
		case 1: /* a node begins */
			name = (const char *)p;
			depth++;
			chosen = depth == 2 && same(name, "chosen");
			for (len = 0; name[len]; len++)
				;
			p += (len + 4) & ~3U;
			break;
		case 2: /* a node ends */
			depth--;
			chosen = false;
			break;
		case 3: /* a property */
			len = be32(p);
			name = strings + be32(p + 4);
			p += 8;
			if (chosen && same(name, "bootargs"))
				return (const char *)p;
			p += (len + 3) & ~3U;
			break;
		case 4:
			break;
		default:
			return NULL;
		}
	}
}

static void refuse(const char *what)
{
	kprintf("bad argument: %s\n", what);
	kprintf("allowed: policy=eager|rfc|flushq|flushq-log|flushq-ticket ipi=own|sbi seed=NUMBER work=1..1000 asid_bits=0..16 resident=1..16 "
		"harts=1..64 (informational); with audited=yes also "
		"policy=broken-drop|broken-kernel|broken-recheck\n");
	power_off(2);
}

static unsigned long number(const char *what, const char *s, unsigned long least,
			    unsigned long most)
{
	unsigned long v = 0, n = 0;

	for (; s[n] >= '0' && s[n] <= '9' && n < 18; n++)
		v = v * 10 + (unsigned long)(s[n] - '0');
	if (!n || s[n] || v < least || v > most)
		refuse(what);
	return v;
}

static void parse_one(char *arg)
{
	static char copy[64];
	char *value = arg;
	unsigned int i;

	for (i = 0; arg[i] && i < sizeof(copy) - 1; i++)
		copy[i] = arg[i];
	copy[i] = 0;
	while (*value && *value != '=')
		value++;
	if (!*value)
		refuse(copy);
	*value++ = 0;
	if (same(arg, "policy")) {
		if (!policy_named(value))
			refuse(copy);
		options.policy = value;
	} else if (same(arg, "ipi")) {
		if (!same(value, "own") && !same(value, "sbi"))
			refuse(copy);
		options.ipi = value;
	} else if (same(arg, "audited")) {
		if (!same(value, "yes"))
			refuse(copy);
		options.audited = true;
	} else if (same(arg, "seed")) {
		options.seed = number(copy, value, 0, 999999999999999999UL);
	} else if (same(arg, "work")) {
		options.work = number(copy, value, 1, 1000);
	} else if (same(arg, "asid_bits")) {
		options.asid_bits = number(copy, value, 0, 16);
	} else if (same(arg, "resident")) {
		options.resident = number(copy, value, 1, 16);
	} else if (same(arg, "harts")) {
		options.harts = number(copy, value, 1, 64);
	} else {
		refuse(copy);
	}
}

void parse_options(const void *fdt)
{
	static char line[256];
	const char *args = find_bootargs(fdt);
	char *arg = NULL;
	unsigned int i;

	for (i = 0; args && args[i]; i++) {
		if (i == sizeof(line) - 1)
			refuse("(too long)");
		line[i] = args[i];
	}
	line[i] = 0;
	for (i = 0; i < sizeof(line); i++) {
		if (line[i] && line[i] != ' ') {
			if (!arg)
				arg = line + i;
			continue;
		}
		if (arg) {
			bool last = !line[i];

			line[i] = 0;
			parse_one(arg);
			arg = NULL;
			if (last)
				break;
		} else if (!line[i]) {
			break;
		}
	}
	if (policy_named(options.policy)->broken && !options.audited)
		refuse("policy=broken-... is deliberately broken, and runs only with audited=yes");
}
