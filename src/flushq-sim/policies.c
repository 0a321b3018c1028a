/* SPDX-License-Identifier: MIT */
#include "policy.h"

const struct policy *const policies[] = {
	&policy_eager,	    &policy_rfc,	   &policy_flushq,
	&policy_flushq_log, &policy_flushq_ticket, &policy_x86,
	&policy_asid,	    &policy_latr,	   NULL,
};
