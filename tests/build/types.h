/* SPDX-License-Identifier: MIT */
/* types.h - what a host without <stdbool.h> and the like gives for FLUSHQ_TYPES_H. */
#ifndef TYPES_H
#define TYPES_H

typedef _Bool bool;
#define true 1
#define false 0
#define NULL ((void *)0)
typedef __UINT8_TYPE__ uint8_t;
typedef __INT8_TYPE__ int8_t;
typedef __UINT16_TYPE__ uint16_t;
typedef __INT16_TYPE__ int16_t;
typedef __UINT32_TYPE__ uint32_t;
typedef __INT32_TYPE__ int32_t;

#endif
