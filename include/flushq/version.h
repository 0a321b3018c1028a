/* SPDX-License-Identifier: MIT */
/* version.h - the version of these headers: semantic versioning, 0.x while the API may still move.
 */
#ifndef FLUSHQ_VERSION_H
#define FLUSHQ_VERSION_H

#define FLUSHQ_VERSION_MAJOR 0
#define FLUSHQ_VERSION_MINOR 1
#define FLUSHQ_VERSION_PATCH 0

#endif
