# SPDX-License-Identifier: MIT
# How long a shootdown takes whoever asks for it, by percentile.
set output out.'/latency.svg'
set title title_of('A whole shootdown, signals for interrupts: what the call costs')
set xlabel 'percentile'
set ylabel 'ns'
set logscale y
set format y '%.0s %c'
set xrange [-0.3:3.3]
set xtics ('50' 0, '90' 1, '99' 2, '99.9' 3)
which = "< awk -F, '$1 == \"%s\" && $4 == \"%s\" && $5 == \"call\"' '%s/shootdown_latency.csv'"
calls(name, mode) = sprintf(which, name, mode, data)
all = names('shootdown_latency.csv')
plot for [name in all] calls(name, 'parked') using 0:3 with linespoints pointtype 7 pointsize 0.5 \
		linecolor rgb colour(name) title name.', parked', \
	for [name in all] calls(name, 'mixed') using 0:3 with linespoints pointtype 6 pointsize 0.5 \
		dashtype 2 linecolor rgb colour(name) title name.', in use'
