# What is said of folders in which there is no certificate for the recipient.
# sieve_perot_encrypt_certs = {dir}/nowhere {dir}/empty {dir}/faulty
require "vnd.perot.encrypt";
encrypt "nobody@t.org";
