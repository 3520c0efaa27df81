package bell

// Suppression is why a call was taken and rang nothing.
type Suppression string

// The reasons. The caller hears it ring as if nobody answered (docs/line-planet.md 11 no. 37).
const (
	RingsAll             Suppression = ""               // it is not suppressed
	SuppressBlocked      Suppression = "blocked"        // the callee blocks the caller
	SuppressDoNotDisturb Suppression = "do_not_disturb" // the callee wants no calls now
	SuppressPolicy       Suppression = "policy"         // the customer's policy hook gave another reason, or none
)

// Suppressions are all reasons.
func Suppressions() []Suppression {
	return []Suppression{SuppressBlocked, SuppressDoNotDisturb, SuppressPolicy}
}

// Decision is what is to be done about a call before it rings. The zero value rings it as it
// is. What it holds of texts is checked and bounded by whoever makes it.
type Decision struct {
	Suppress   Suppression
	CallerName string            // what devices show for the caller; at most MaxText bytes
	AppFields  map[string]string // further keys for the devices; not changed after the decision
}
