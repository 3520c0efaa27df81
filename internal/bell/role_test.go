package bell

import "testing"

func TestRolesCoverThoseBefore(t *testing.T) {
	for i, have := range Roles() {
		for j, least := range Roles() {
			if got := have.Covers(least); got != (i >= j) {
				t.Errorf("%s covers %s: %v", have, least, got)
			}
		}
		if have.Covers("") || Role("").Covers(have) || have.Covers("root") || Role("root").Covers(have) {
			t.Errorf("%s and what is no role cover one another", have)
		}
	}
}
