# SPDX-License-Identifier: MIT
# What the plots share. tools/bench sets data and out (folders) and machine (words).
set terminal svg size 920,520 font 'DejaVu Sans,Helvetica,Arial,sans-serif,13' \
	background '#ffffff' linewidth 1.4 rounded
set datafile separator ','
set datafile missing NaN
set border 3 linecolor rgb '#444444'
set tics nomirror textcolor rgb '#222222'
set grid linecolor rgb '#dddddd' linewidth 0.7 linetype 1
set key outside right top vertical Left reverse samplen 2 spacing 1.25 noenhanced

# Okabe and Ito's colours, that all can tell apart; flushq's own are the two strongest.
colour(name) = name eq 'flushq_queue' || name eq 'flushq' ? 0xd55e00 : \
	name eq 'flushq_log' || name eq 'flushq-log' ? 0x0072b2 : \
	name eq 'flushq-ticket' ? 0x009e73 : \
	name[1:8] eq 'spin_fas' || name eq 'rfc' ? 0x000000 : \
	name[1:9] eq 'spin_tick' ? 0x777777 : \
	name[1:9] eq 'spin_pthr' ? 0xaaaaaa : \
	name[1:7] eq 'ck_ring' || name eq 'x86' ? 0xcc79a7 : \
	name eq 'wfcqueue' || name eq 'latr' ? 0x56b4e9 : \
	name[1:8] eq 'rte_ring' || name eq 'eager' ? 0xe69f00 : 0x8c6d31
title_of(text) = sprintf("{/:Bold %s}\n{/*0.85 %s}", text, machine)
# The rows of a file whose first column is a name.
rows(file, name) = sprintf("< awk -F, '$1 == \"%s\"' '%s/%s'", name, data, file)
names(file) = system(sprintf("awk -F, 'NR > 1 && !seen[$1]++ { print $1 }' '%s/%s'", data, file))
