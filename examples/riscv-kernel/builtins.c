/* SPDX-License-Identifier: MIT */
/* What gcc calls where there is no Zbb; its own library is built for another ABI. */
int __ctzdi2(unsigned long x);
int __popcountdi2(unsigned long x);

int __ctzdi2(unsigned long x)
{
	int n = 0;

	while (!(x & 1)) {
		x >>= 1;
		n++;
	}
	return n;
}

int __popcountdi2(unsigned long x)
{
	int n = 0;

	for (; x; x &= x - 1)
		n++;
	return n;
}
