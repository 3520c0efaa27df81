package bell

// Purpose is what devices are told, and so what their push holds.
type Purpose string

// The purposes. All but a call are notices: they go the same way, with deadline, retries,
// record and receipts, and nothing but the device's screen depends on them.
const (
	// PurposeCall is a 1-to-1 call: the device must get its cc_param and ring.
	PurposeCall Purpose = ""
	// PurposeMissedCall tells the callee of a call that nobody answered.
	PurposeMissedCall Purpose = "missed_call"
	// PurposeInvitation asks a user into a room: service ID and room ID.
	PurposeInvitation Purpose = "invitation"
)
