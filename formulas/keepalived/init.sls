#!service
