/* SPDX-License-Identifier: MIT */
/* port.h - the library on this machine, for each policy that is built on it. */
#ifndef PORT_H
#define PORT_H

#include <flushq/flushq.h>

#include "policy.h"

/* What the kernel asks for, as the library wants it. */
struct flushq_range port_range(const struct range *r);

#endif
