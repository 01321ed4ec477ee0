module apogee.test/clients/acting

go 1.25.0
