/* SPDX-License-Identifier: MIT */
/* For C and for boot.S: each hart has a stack of that many bytes, log2, in `stacks`. */
#ifndef STACK_H
#define STACK_H

#define STACK_SHIFT 13

#endif
