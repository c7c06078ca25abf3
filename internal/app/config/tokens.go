package config

// fill gives a token its defaults.
func (t *HTTPToken) fill() { *t = HTTPToken{Role: RoleRead} }

// tokens checks who may ask over HTTP.
func (c *checker) tokens() {
	named := make(map[string]int)
	for i, t := range c.cfg.HTTP.Tokens {
		path := index("http.tokens", i)
		if twin, ok := named[t.Name]; ok && t.Name != "" {
			c.twice(join(path, "name"), join(index("http.tokens", twin), "name"))
		}
		named[t.Name] = i
		at, _ := c.src.find(path)
		switch {
		case !c.sound(join(path, "token"), join(path, "token_file")):
		case t.Token.IsZero() && t.TokenFile == "":
			c.add(path, at, "", "a token needs token or token_file", "write token: ${TOKEN}, or token_file: /run/secrets/token")
		case !t.Token.IsZero() && t.TokenFile != "":
			c.add(path, at, "", "token and token_file are both given", "remove one of the two")
		}
	}
}
