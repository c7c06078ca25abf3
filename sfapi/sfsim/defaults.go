package sfsim

import "slices"

// DefaultSchema is a small sales org: accounts in a hierarchy, their contacts, orders with lines, leads, opportunities,
// tasks about any of them, and the users and groups that own records. Every call returns a fresh value to change at will.
func DefaultSchema() Schema {
	return Schema{Objects: []Object{
		userObject(), groupObject(), accountObject(), contactObject(), leadObject(), opportunityObject(),
		orderObject(), orderLineObject(), taskObject(),
	}}
}

func externalID() Field {
	return Field{
		Name: "External_ID__c", Label: "External ID", Type: Text, Length: 80,
		ExternalID: true, IDLookup: true, Unique: true,
	}
}

// syncVersion is where a client may leave the version of the state it wrote, for an org to refuse an older one: schemas
// that want it to add a [NeverBackwards] rule.
func syncVersion() Field {
	return Field{Name: "Sync_Version__c", Label: "Sync Version", Type: Double, Precision: 16}
}

func owner() Field {
	return Field{
		Name: "OwnerId", Label: "Owner ID", Type: Reference, ReferenceTo: []string{"Group", "User"},
		RelationshipName: "Owner", Required: true, Default: CurrentUser,
	}
}

func personName() []Field {
	return []Field{
		{Name: "LastName", Label: "Last Name", Type: Text, Length: 80, Required: true},
		{Name: "FirstName", Label: "First Name", Type: Text, Length: 40},
		{Name: "Name", Label: "Full Name", Type: Text, Length: 121, Access: ReadOnly, JoinOf: []string{"FirstName", "LastName"}},
	}
}

func industries() []string {
	return []string{
		"Agriculture", "Apparel", "Banking", "Chemicals", "Consulting", "Education", "Electronics", "Energy", "Finance",
		"Healthcare", "Insurance", "Manufacturing", "Retail", "Technology", "Transportation", "Utilities", "Other",
	}
}

func userObject() Object {
	return Object{Name: "User", KeyPrefix: "005", Fields: []Field{
		{Name: "Username", Type: Text, Length: 80, Required: true, Unique: true, IDLookup: true},
		externalID(),
		{Name: "Name", Label: "Full Name", Type: Text, Length: 121},
		{Name: "Email", Type: Email, Length: 128},
		{Name: "IsActive", Label: "Active", Type: Boolean, Default: "true"},
	}}
}

func groupObject() Object {
	return Object{Name: "Group", KeyPrefix: "00G", Fields: []Field{
		{Name: "DeveloperName", Label: "Developer Name", Type: Text, Length: 80, Unique: true, IDLookup: true},
		{Name: "Name", Type: Text, Length: 40, Required: true},
	}}
}

func accountObject() Object {
	return Object{Name: "Account", KeyPrefix: "001", Fields: []Field{
		externalID(),
		{Name: "Name", Label: "Account Name", Type: Text, Length: 255, Required: true},
		{Name: "Type", Label: "Account Type", Type: Picklist, Values: []string{"Prospect", "Customer", "Partner", "Other"}, Restricted: true},
		{Name: "Industry", Type: Picklist, Values: industries()},
		{Name: "AnnualRevenue", Label: "Annual Revenue", Type: Currency, Precision: 18, Scale: 2},
		{Name: "NumberOfEmployees", Label: "Employees", Type: Int},
		{Name: "Phone", Type: Phone, Length: 40},
		{Name: "Website", Type: URL, Length: 255},
		{Name: "BillingCity", Label: "Billing City", Type: Text, Length: 40},
		{Name: "BillingCountry", Label: "Billing Country", Type: Text, Length: 80},
		{Name: "Description", Label: "Account Description", Type: LongText, Length: 32000},
		{Name: "Active__c", Label: "Active", Type: Boolean, Default: "false"},
		{Name: "Rating__c", Label: "Rating", Type: Percent, Precision: 5, Scale: 2},
		{Name: "LastChanged__c", Label: "Last Changed", Type: DateTime},
		{Name: "Since__c", Label: "Customer Since", Type: Date},
		{Name: "ParentId", Label: "Parent Account ID", Type: Reference, ReferenceTo: []string{"Account"}, RelationshipName: "Parent"},
		{Name: "Score__c", Label: "Score", Type: Double, Precision: 10, Scale: 2, Access: ReadOnly},
		syncVersion(),
		owner(),
	}}
}

func contactObject() Object {
	return Object{Name: "Contact", KeyPrefix: "003", Fields: slices.Concat([]Field{externalID()}, personName(), []Field{
		{Name: "Email", Type: Email, Length: 80, IDLookup: true},
		{Name: "Phone", Label: "Business Phone", Type: Phone, Length: 40},
		{Name: "Title", Type: Text, Length: 128},
		{Name: "Birthdate", Type: Date},
		{Name: "HasOptedOutOfEmail", Label: "Email Opt Out", Type: Boolean, Default: "false"},
		{Name: "Interests__c", Label: "Interests", Type: MultiPicklist, Values: []string{"News", "Events", "Offers"}, Restricted: true},
		{Name: "AccountId", Label: "Account ID", Type: Reference, ReferenceTo: []string{"Account"}, RelationshipName: "Account"},
		syncVersion(),
		owner(),
	})}
}

func leadObject() Object {
	return Object{Name: "Lead", KeyPrefix: "00Q", Fields: slices.Concat([]Field{externalID()}, personName(), []Field{
		{Name: "Company", Type: Text, Length: 255, Required: true},
		{Name: "Email", Type: Email, Length: 80, IDLookup: true},
		{
			Name: "Status", Type: Picklist, Values: []string{"Open", "Working", "Qualified", "Unqualified"},
			Restricted: true, Required: true, Default: "Open",
		},
		{Name: "Legacy_Code__c", Label: "Legacy Code", Type: Text, Length: 20, ExternalID: true, IDLookup: true},
		owner(),
	})}
}

func opportunityObject() Object {
	return Object{Name: "Opportunity", KeyPrefix: "006", Fields: []Field{
		externalID(),
		{Name: "Name", Type: Text, Length: 120, Required: true},
		{Name: "StageName", Label: "Stage", Type: Picklist, Values: []string{"Prospecting", "Proposal", "Closed Won", "Closed Lost"}, Required: true},
		{Name: "CloseDate", Label: "Close Date", Type: Date, Required: true},
		{Name: "Amount", Type: Currency, Precision: 18, Scale: 2},
		{Name: "AccountId", Label: "Account ID", Type: Reference, ReferenceTo: []string{"Account"}, RelationshipName: "Account"},
		owner(),
	}}
}

func orderObject() Object {
	return Object{Name: "Order__c", Label: "Order", KeyPrefix: "a01", Fields: []Field{
		externalID(),
		{Name: "Name", Label: "Order Name", Type: Text, Length: 80},
		{Name: "Number__c", Label: "Order Number", Type: Double, Precision: 12, ExternalID: true, IDLookup: true, Unique: true},
		{Name: "Account__c", Label: "Account", Type: Reference, ReferenceTo: []string{"Account"}, RelationshipName: "Account__r"},
		{Name: "Amount__c", Label: "Amount", Type: Currency, Precision: 16, Scale: 2},
		{
			Name: "Status__c", Label: "Status", Type: Picklist, Values: []string{"Draft", "Placed", "Shipped", "Cancelled"},
			Restricted: true, Default: "Draft",
		},
		{Name: "Placed_At__c", Label: "Placed At", Type: DateTime},
		syncVersion(),
		owner(),
	}}
}

func orderLineObject() Object {
	return Object{Name: "Order_Line__c", Label: "Order Line", KeyPrefix: "a02", Fields: []Field{
		externalID(),
		{Name: "Name", Label: "Line Name", Type: Text, Length: 80},
		{
			Name: "Order__c", Label: "Order", Type: Reference, ReferenceTo: []string{"Order__c"}, RelationshipName: "Order__r",
			Required: true, MasterDetail: true, Access: CreateOnly,
		},
		{Name: "SKU__c", Label: "SKU", Type: Text, Length: 40, Required: true},
		{Name: "Quantity__c", Label: "Quantity", Type: Double, Precision: 10},
		{Name: "Price__c", Label: "Price", Type: Currency, Precision: 16, Scale: 2},
	}}
}

func taskObject() Object {
	return Object{Name: "Task", KeyPrefix: "00T", Fields: []Field{
		externalID(),
		{Name: "Subject", Type: Text, Length: 255},
		{Name: "Status", Type: Picklist, Values: []string{"Not Started", "In Progress", "Completed"}, Restricted: true, Required: true, Default: "Not Started"},
		{Name: "ActivityDate", Label: "Due Date Only", Type: Date},
		{Name: "StartTime__c", Label: "Start Time", Type: Time},
		{Name: "WhoId", Label: "Name ID", Type: Reference, ReferenceTo: []string{"Contact", "Lead"}, RelationshipName: "Who"},
		{
			Name: "WhatId", Label: "Related To ID", Type: Reference,
			ReferenceTo: []string{"Account", "Opportunity", "Order__c"}, RelationshipName: "What",
		},
		owner(),
	}}
}
