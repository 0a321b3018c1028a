/* SPDX-License-Identifier: MIT */
/* input.h - what the fuzz targets share: bytes in, values out, and a verdict. */
#ifndef INPUT_H
#define INPUT_H

#include <stdio.h>
#include <stdlib.h>

#include <flushq/flushq.h>

#define PAGE (1ul << FLUSHQ_PAGE_SHIFT)

/* What is compared with: of no interest to the fuzzer, and slow if it looks. */
#define ORACLE __attribute__((no_sanitize("coverage")))

struct input {
	const uint8_t *bytes;
	size_t left;
};

#define CHECK(cond)                                                                                \
	do {                                                                                       \
		if (!(cond)) {                                                                     \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #cond);         \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

/* 0 behind the end. */
static inline unsigned int input_byte(struct input *in)
{
	if (!in->left)
		return 0;
	in->left--;
	return *in->bytes++;
}

static inline unsigned long input_word(struct input *in)
{
	unsigned long word = 0;
	unsigned int i;

	for (i = 0; i < sizeof(word); i++)
		word |= (unsigned long)input_byte(in) << 8 * i;
	return word;
}

/* An address or a size: some from the ends of all that there are, and near powers of two. */
static inline unsigned long input_hostile(struct input *in)
{
	unsigned int how = input_byte(in), n = input_byte(in);

	switch (how >> 5) {
	case 0:
		return n;
	case 1:
		return 0ul - n;
	case 2:
		return n * PAGE + (how & 31) - 16;
	case 3:
		return 0ul - n * PAGE - (how & 31);
	case 4:
		return (1ul << n % FLUSHQ_CPUSET_BITS) + (how & 31) - 16;
	case 5:
		return (unsigned long)n << (how & 31);
	case 6:
		return (0ul - n) << (how & 31);
	default:
		return input_word(in);
	}
}

/* Any request that a caller can make. */
static inline struct flushq_range input_range(struct input *in)
{
	unsigned int how = input_byte(in), n;
	flushq_asid asid = how & 3;
	enum flushq_kind kind = (enum flushq_kind)((how >> 2 & 3) % 3);
	unsigned long start, stride = PAGE;

	if (how >> 4 == 0)
		return flushq_range_whole(asid, kind);
	if (how >> 4 == 1)
		asid = FLUSHQ_ASID_MAX - asid;
	if (how >> 4 < 5)
		start = input_hostile(in);
	else
		start = input_byte(in) * PAGE;
	n = input_byte(in);
	if (how >> 4 >= 10)
		stride = PAGE << (n >> 6) * ((how >> 4) - 9);
	if (how >> 4 < 4)
		return flushq_range_make(asid, start, input_hostile(in), stride, kind);
	return flushq_range_make(asid, start, (n & 127) * stride, stride, kind);
}

#endif
