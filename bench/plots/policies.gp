# SPDX-License-Identifier: MIT
# The plane that the mail thread is about: interrupts against TLB refills.
set output out.'/policies.svg'
set title title_of('What a policy costs: interrupts against TLB refills, on simulated CPUs')
set xlabel 'interrupts sent'
set ylabel 'TLB refills'
stats data.'/shootdown_policies.csv' every ::1 using 2 nooutput
set logscale x
set xtics (100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000, 100000)
set xrange [(STATS_min > 1 ? STATS_min * 0.7 : 1):STATS_max * 1.4]
set offsets 0, 0, graph 0.08, graph 0.08
plot for [name in names('shootdown_policies.csv')] rows('shootdown_policies.csv', name) \
	using 2:3 with points pointsize 1.3 \
	pointtype (name[1:6] eq 'flushq' ? 7 : 5) linecolor rgb colour(name) title name
