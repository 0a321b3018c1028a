# SPDX-License-Identifier: MIT
# What a put costs while another producer is stopped in the middle of its own, by percentile.
set output out.'/stopped.svg'
heading = 'What a put costs while another producer is stopped'
set title title_of(heading)
set ylabel 'ns per put'
set logscale y
set format y '%.0s %c'
set yrange [10:*]
all = names('stopped.csv')
set xtics rotate by -35 noenhanced
set xrange [-0.7:words(all) - 0.3]
# Columns: two of names, then three of each value; puts first, and nine values on, those disturbed.
at(stop, k) = 3 + 3 * (9 * stop + k)
label(k) = word('p50 p99 p99.9', k + 1)
hue(k) = k == 0 ? 0x009e73 : k == 1 ? 0x0072b2 : 0xd55e00
file = data.'/stopped.csv'
plot for [k = 0:2] file every ::1 using ($0 - 0.12):at(0, k):xticlabels(1) \
		with points pointtype 6 pointsize 0.8 linewidth 1.5 linecolor rgb hue(k) \
		title label(k).', undisturbed', \
	for [k = 0:2] file every ::1 using ($0 + 0.12):at(1, k) \
		with points pointtype 7 pointsize 0.8 linecolor rgb hue(k) title label(k).', one is stopped'
