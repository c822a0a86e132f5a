// Package ascii says how much of a text needs no second look.
package ascii

import "unicode/utf8"

// Plain is where the ASCII ends that a JSON string holds as it is, from i on. Most of a
// block, and of a record of the witness, is signatures, of which each byte is such: it looks at
// eight at a time.
func Plain[T string | []byte](s T, i int) int {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	for ; i+8 <= len(s); i += 8 {
		t := s[i : i+8]
		v := uint64(t[0]) | uint64(t[1])<<8 | uint64(t[2])<<16 | uint64(t[3])<<24 | uint64(t[4])<<32 | uint64(t[5])<<40 | uint64(t[6])<<48 | uint64(t[7])<<56
		// A byte below 0x20 borrows from its high bit, and so does one that is 0 after the
		// exclusive or. A borrow may mark the byte after it too, which only costs a second look.
		quote, slash := v^(ones*'"'), v^(ones*'\\')
		if (v|(v-ones*' ')|(quote-ones)|(slash-ones))&high != 0 {
			break
		}
	}
	for i < len(s) && s[i] >= ' ' && s[i] < utf8.RuneSelf && s[i] != '"' && s[i] != '\\' {
		i++
	}
	return i
}
