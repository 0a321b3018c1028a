/* SPDX-License-Identifier: MIT */
/* flushq.h - all of flushq: defer TLB flushes to the moment they matter. Start reading at
 * shootdown.h. */
#ifndef FLUSHQ_FLUSHQ_H
#define FLUSHQ_FLUSHQ_H

#include "mm.h"
#include "shootdown.h"
#include "ticket.h"
#include "version.h"

#endif
