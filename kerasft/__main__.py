from kerasft.cli import main

main()
