package bell

// MaxText bounds what a client may say about itself, in bytes; LINE Planet's display
// names have 128.
const MaxText = 128

// Clip cuts text to MaxText bytes, at a character's border.
func Clip(s string) string {
	if len(s) <= MaxText {
		return s
	}
	end := MaxText
	for end > 0 && s[end]&0xC0 == 0x80 {
		end--
	}
	return s[:end]
}
