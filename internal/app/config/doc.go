// Package config reads penstock.yaml into a plain Go value and tells every mistake at once.
//
//	cfg, err := config.Load("penstock.yaml", os.LookupEnv)
//	var problems *config.Problems
//	if errors.As(err, &problems) {
//		fmt.Fprintln(os.Stderr, problems) // each with line, column, the text at fault and what to do
//	}
//
// # The road of a file
//
//	bytes → tokens → tree          goccy/go-yaml; a file that is no YAML ends here, with one problem
//	tree → Config over Default()   decoder, by the yaml tags of the structs; keeps the place of every key
//	Config → checks                what one field cannot know: contradictions, names, expressions
//
// The decoder is our own because the library's stops at the first problem and loses the place of values with a type
// of their own. It is strict: a key nobody reads is a problem, never a surprise in production.
//
// # Promises
//
//   - A Config that Parse returns is complete: defaults filled in, ranges and contradictions checked, expressions compiled.
//   - No error, excerpt, warning or printout shows a secret, the password in a URL, or the text of an environment variable
//     that does not fit where it was put.
//   - Every problem of Parse points at a place inside the source.
//   - Parse is a pure function of its arguments. Only Load and Warnings look at the file system.
package config
