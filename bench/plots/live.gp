# SPDX-License-Identifier: MIT
# Throughput against producers. Where one number of producers is all there is: bars.
set output out.'/live.svg'
set title title_of('Requests moved through one queue, consumer polling')
real = ''
do for [name in names('live.csv')] {
	if (name ne 'null' && name ne 'fetch_add') { real = real.' '.name }
}
stats data.'/live.csv' every ::1 using 2 nooutput
most = STATS_max
# A dash for what has a solid twin of its colour.
dash(name) = name[strlen(name) - 1:] eq '64' || name eq 'rte_ring_rts' ? 2 : 1
set ylabel 'million requests per second'
set yrange [0:*]
if (most > 1) {
	set xlabel 'producers, each on its CPU'
	set xtics 1
	plot for [name in real] rows('live.csv', name) using 2:3:4:5 with yerrorlines \
		linewidth (name[1:6] eq 'flushq' ? 2.5 : 1.2) pointtype 7 pointsize 0.5 \
		linecolor rgb colour(name) \
		dashtype dash(name) \
		title name
} else {
	unset key
	set xlabel 'one producer; bars are medians, whiskers quartiles'
	set xtics rotate by -35 noenhanced
	set xrange [-0.7:words(real) - 0.3]
	set boxwidth 0.65
	set style fill solid 0.85 noborder
	plot for [i = 1:words(real)] rows('live.csv', word(real, i)) using (i - 1):3:xticlabels(1) \
		with boxes linecolor rgb colour(word(real, i)), \
		for [i = 1:words(real)] rows('live.csv', word(real, i)) using (i - 1):3:4:5 \
		with yerrorbars linecolor rgb '#444444' pointtype 0 pointsize 0
}
