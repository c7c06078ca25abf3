package sfsim

// Operation is what a call does; troubles select by it and statistics count by it.
type Operation string

// The operations.
const (
	OpToken      Operation = "token"
	OpIntrospect Operation = "introspect"
	OpRevoke     Operation = "revoke"
	OpUserinfo   Operation = "userinfo"
	OpVersions   Operation = "versions"
	OpResources  Operation = "resources"
	OpUpsert     Operation = "upsert" // by external ID: collections and single records
	OpInsert     Operation = "insert"
	OpUpdate     Operation = "update" // by Id
	OpDelete     Operation = "delete" // by Id or external ID
	OpGet        Operation = "get"
	OpQuery      Operation = "query"
	OpQueryMore  Operation = "query_more"
	OpDescribe   Operation = "describe"
	OpObjects    Operation = "objects"
	OpLimits     Operation = "limits"
	OpComposite  Operation = "composite"
	OpUnknown    Operation = "unknown" // a path or method the API does not have
)

// Operations lists every operation.
func Operations() []Operation {
	return []Operation{
		OpToken, OpIntrospect, OpRevoke, OpUserinfo, OpVersions, OpResources, OpUpsert, OpInsert, OpUpdate, OpDelete, OpGet,
		OpQuery, OpQueryMore, OpDescribe, OpObjects, OpLimits, OpComposite, OpUnknown,
	}
}
