// SPDX-License-Identifier: MIT
/* engine.cc - see engine.h. Built with -fno-access-control: it reads relacy's private orders. */
#include "engine.h"

#include <sys/times.h>
#include <unistd.h>

namespace model
{

static const scenario *current;

template <int N> struct suite : rl::test_suite<suite<N>, N> {
	void before()
	{
		current->before();
	}
	void thread(unsigned int index)
	{
		current->thread((int)index);
	}
	void after()
	{
		current->after();
	}
};

struct ops {
	void (*order_walks)(walk_order *);
	int (*walk)(const rl::atomic<int> *, const walk_order *);
	void (*end_release_sequence)(rl::atomic_data *, bool);
	rl::test_result_e (*run)(rl::test_params &, std::ostream &, bool);
};

static const ops *op;

template <int N> struct impl {
	typedef rl::thread_info<N> info;

	static info &self()
	{
		return *static_cast<info *>(rl::ctx().threadx_);
	}

	/* A full fence, of which only walks notice anything. */
	static void order_walks(walk_order *order)
	{
		rl::timestamp_t own[N], acquire[N], release[N];
		info &t = self();
		int i;

		rl::ctx().sched();
		for (i = 0; i < N; i++) {
			own[i] = t.acq_rel_order_[i];
			acquire[i] = t.acquire_fence_order_[i];
			release[i] = t.release_fence_order_[i];
		}
		t.atomic_thread_fence_seq_cst(rl::ctx().seq_cst_fence_order_);
		for (i = 0; i < N; i++) {
			order->at[i] = t.acq_rel_order_[i];
			t.acq_rel_order_[i] = own[i];
			t.acquire_fence_order_[i] = acquire[i];
			t.release_fence_order_[i] = release[i];
		}
	}

	static int walk(const rl::atomic<int> *pte, const walk_order *order)
	{
		rl::timestamp_t own[N], acquire[N];
		info &t = self();
		int i, v;

		for (i = 0; i < N; i++) {
			own[i] = t.acq_rel_order_[i];
			acquire[i] = t.acquire_fence_order_[i];
			if (i != t.index_)
				t.acq_rel_order_[i] = order->at[i];
		}
		v = pte->load(rl::mo_relaxed, RL_INFO);
		for (i = 0; i < N; i++) {
			if (i != t.index_)
				t.acq_rel_order_[i] = own[i];
			t.acquire_fence_order_[i] = acquire[i];
		}
		return v;
	}

	static void end_release_sequence(rl::atomic_data *data, bool release)
	{
		rl::atomic_data_impl<N> &var = *static_cast<rl::atomic_data_impl<N> *>(data);
		int i;

		for (i = 0; i < N; i++)
			var.history_[var.current_index_ % rl::atomic_history_size]
				.acq_rel_order_[i] =
				release ? self().acq_rel_order_[i] : self().release_fence_order_[i];
	}

	static rl::test_result_e run(rl::test_params &params, std::ostream &state, bool second)
	{
		if (params.search_type == rl::sched_random)
			return rl::run_test<suite<N>, rl::random_scheduler<N>>(params, state,
									       second);
		if (params.search_type == rl::sched_full)
			return rl::run_test<suite<N>, rl::full_search_scheduler<N>>(params, state,
										    second);
		return rl::run_test<suite<N>, rl::context_bound_scheduler<N>>(params, state,
									      second);
	}

	static const ops table;
};

template <int N>
const ops impl<N>::table = { impl<N>::order_walks, impl<N>::walk, impl<N>::end_release_sequence,
			     impl<N>::run };

void order_walks(walk_order *order)
{
	op->order_walks(order);
}

int walk(const rl::atomic<int> *pte, const walk_order *order)
{
	return op->walk(pte, order);
}

void end_release_sequence(rl::atomic_data *data, bool release)
{
	op->end_release_sequence(data, release);
}

static const unsigned long seed = 1;

static unsigned int small(unsigned int search)
{
	return search >= 100 ? (search + 4) / 5 : search > 2 ? 2 : search;
}

static bool run_one(const char *client, const scenario *s, unsigned int search, bool verbose)
{
	rl::test_params params;
	rl::ostringstream state, sink, start;
	char kind[80];
	rl::test_result_e res;

	current = s;
	op = s->threads == 2   ? &impl<2>::table
	     : s->threads == 3 ? &impl<3>::table
			       : &impl<4>::table;
	params.output_stream = &sink;
	params.progress_stream = &sink;
	params.execution_depth_limit = 3000;
	if (search == 0) {
		params.search_type = rl::sched_full;
		snprintf(kind, sizeof(kind), "search=full bound=none");
	} else if (search < 100) {
		params.search_type = rl::sched_bound;
		params.context_bound = search;
		snprintf(kind, sizeof(kind), "search=bounded bound=%u", search);
	} else {
		params.search_type = rl::sched_random;
		start << seed << " ";
		params.initial_state = start.str();
		params.iteration_count = seed + search - 1;
		snprintf(kind, sizeof(kind), "search=random bound=seed:%lu", seed);
	}
	res = op->run(params, state, false);
	printf("model client=%s/%s tool=relacy %s executions=%llu result=%s\n", client, s->name,
	       kind, (unsigned long long)params.stop_iteration,
	       res == rl::test_result_success ? "ok" : "FAILED");
	if (res != rl::test_result_success)
		printf("      %s\n", rl::test_result_str(res));
	fflush(stdout);
	if (res != rl::test_result_success && verbose) {
		rl::ostringstream again;

		params.initial_state = state.str();
		params.output_stream = &std::cout;
		params.collect_history = true;
		op->run(params, again, true);
	}
	return res == rl::test_result_success;
}

/*
 * [-l: list] [-v: show the failing execution] [-f: stop at the first failure] [-q: small bounds]
 * [-b search] [scenario...]
 */
int main(int argc, char **argv, const char *client, const scenario *table, unsigned int nr)
{
	bool verbose = false, first = false, quick = false;
	int search = -1, failed = 0, opt;
	unsigned int i, run = 0;

	while ((opt = getopt(argc, argv, "lvfqb:")) != -1) {
		verbose |= opt == 'v';
		first |= opt == 'f';
		quick |= opt == 'q';
		if (opt == 'l') {
			for (i = 0; i < nr; i++)
				printf("%s\n", table[i].name);
			return 0;
		}
		if (opt == 'b')
			search = atoi(optarg);
		if (opt == '?')
			return 2;
	}
	for (i = 0; i < nr; i++) {
		bool wanted = optind == argc;

		for (int a = optind; a < argc; a++)
			wanted |= strcmp(argv[a], table[i].name) == 0;
		if (!wanted)
			continue;
		run++;
		failed += !run_one(client, &table[i],
				   search >= 0 ? (unsigned int)search
				   : quick     ? small(table[i].search)
					       : table[i].search,
				   verbose);
		if (failed && first)
			break;
	}
	if (run == 0) {
		fprintf(stderr, "%s: no such scenario\n", client);
		return 2;
	}
	return failed != 0;
}

} // namespace model
