# The test is true when the message is encrypted now.
# sieve_perot_encrypt_certs = ~/own
require ["vnd.perot.encrypt", "fileinto"];
if encrypted { fileinto "encrypted before"; }
if encrypt { fileinto "encrypt is true"; } else { fileinto "encrypt is false"; }
if encrypted { fileinto "encrypted"; }
if encrypt { fileinto "encrypt is still true"; }
