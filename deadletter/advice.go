package deadletter

// Advice says in a line what to do about a code, empty if there is nothing to say.
func Advice(code string) string {
	switch code {
	default:
		return ""
	}
}
