package sfsim_test

import (
	"fmt"
	"net/http"
	"strings"

	"penstock/sfapi/sfsim"
)

func ExampleStart() {
	sim, err := sfsim.Start(sfsim.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sim.Close()
	// The client under test would log in at sim.URL(). Here a page of the edge meets whoever calls first.
	if _, err := sim.AddTrouble(sfsim.Trouble{Kind: sfsim.ShowPage, Page: sfsim.NoUpstream, Count: 1}); err != nil {
		fmt.Println(err)
		return
	}
	client := &http.Client{Transport: sim.Transport()}
	for range 2 {
		answer, err := client.Post(sim.URL()+"/services/oauth2/token", "application/x-www-form-urlencoded", strings.NewReader("grant_type=client_credentials"))
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(answer.Status, answer.Header.Get("Content-Type"))
		answer.Body.Close()
	}
	// Output:
	// 503 Service Unavailable text/plain
	// 400 Bad Request application/json;charset=UTF-8
}
