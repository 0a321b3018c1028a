/* SPDX-License-Identifier: MIT */
/* Arrays under a spinlock: three locks, each with 16 requests (what the mail thread's patch has) and
 * 64. User space can't turn interrupts off: that part of the kernel's cost is missing. */
#include <pthread.h>
#include <ck_spinlock.h>

#include "peer.h"

#define SPIN_TYPE ck_spinlock_fas_t
#define SPIN_INIT(lock) ck_spinlock_fas_init(lock)
#define SPIN_LOCK(lock) ck_spinlock_fas_lock(lock)
#define SPIN_UNLOCK(lock) ck_spinlock_fas_unlock(lock)
#define PEER spin_fas_16
#define PEER_ROOM 16
#include "spinlocked.h"
#define PEER spin_fas_64
#define PEER_ROOM 64
#include "spinlocked.h"
#undef SPIN_TYPE
#undef SPIN_INIT
#undef SPIN_LOCK
#undef SPIN_UNLOCK

#define SPIN_TYPE ck_spinlock_ticket_t
#define SPIN_INIT(lock) ck_spinlock_ticket_init(lock)
#define SPIN_LOCK(lock) ck_spinlock_ticket_lock(lock)
#define SPIN_UNLOCK(lock) ck_spinlock_ticket_unlock(lock)
#define PEER spin_ticket_16
#define PEER_ROOM 16
#include "spinlocked.h"
#define PEER spin_ticket_64
#define PEER_ROOM 64
#include "spinlocked.h"
#undef SPIN_TYPE
#undef SPIN_INIT
#undef SPIN_LOCK
#undef SPIN_UNLOCK

#define SPIN_TYPE pthread_spinlock_t
#define SPIN_INIT(lock) pthread_spin_init(lock, PTHREAD_PROCESS_PRIVATE)
#define SPIN_LOCK(lock) pthread_spin_lock(lock)
#define SPIN_UNLOCK(lock) pthread_spin_unlock(lock)
#define PEER spin_pthread_16
#define PEER_ROOM 16
#include "spinlocked.h"
#define PEER spin_pthread_64
#define PEER_ROOM 64
#include "spinlocked.h"
